//! The statements of the specification as tests.
//!
//! `tests/statements` has a file for each chapter; a test bears the number of its statement. Here are only statements
//! that a connection can be judged by from outside, with the other end played by the test. What can be seen in a
//! single packet is judged beside the codec, and what needs subscribers beside the broker.
