//! The statements of the specification as tests.
