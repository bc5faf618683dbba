//! The front door, tried on a real database with a small lake behind it.

mod audit;
mod beginning;
mod customers;
mod factor;
mod house;
mod isolation;
mod leaving;
mod openapi;
mod operations;
mod people;
mod programs;
mod promises;
mod sso;
mod usage;
