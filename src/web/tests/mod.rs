//! The front door, tried on a real database with a small lake behind it.

mod alerts;
mod audit;
mod beginning;
mod customers;
mod events;
mod factor;
mod hostile;
mod house;
mod isolation;
mod leaving;
mod models;
mod openapi;
mod operations;
mod people;
mod programs;
mod promises;
mod query;
mod sso;
mod usage;
