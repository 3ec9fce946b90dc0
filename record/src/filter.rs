//! Which records are wanted.

/// Which records are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {}
