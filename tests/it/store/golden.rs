//! Damaged stores: found, named, survived.
