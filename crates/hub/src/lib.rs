//! The hub: connectors, flows and supervision.

pub mod config;
