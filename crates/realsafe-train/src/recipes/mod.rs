//! The recipes, one file each.

mod pgd_at;
mod standard;

#[cfg(test)]
pub(crate) use pgd_at::PgdTraining;
