//! The door, tried with a foreign client and byte by byte, over a house on a real database.

mod abuse;
mod asking;
mod clients;
mod hostile;
mod house;
mod letting_in;
