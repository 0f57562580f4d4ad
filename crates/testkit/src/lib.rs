//! What the tests of other rooms share; a dev-dependency only.

pub mod mutate;
