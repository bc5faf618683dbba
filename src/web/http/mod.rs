//! The HTTP kit: problems, the guard in front of every route, headers, cookies. It knows no page.

pub(crate) mod client;
pub(crate) mod cookie;
pub(crate) mod guard;
pub(crate) mod headers;
pub(crate) mod intake;
pub(crate) mod measure;
pub(crate) mod pace;
pub(crate) mod problem;
pub(crate) mod stir;

pub(crate) use client::Asker;
pub(crate) use guard::Visitor;
pub(crate) use problem::Problem;
