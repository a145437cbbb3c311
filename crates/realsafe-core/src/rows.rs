//! Choosing rows of whatever is kept per sample.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// A choice of rows, with one index tensor shared by everything that is selected by it.
#[derive(Clone)]
pub struct Rows {
    indices: Vec<usize>,
    tensor: Tensor<1, Int>,
}

impl Rows {
    /// Chooses these rows, in this order.
    pub fn new(indices: Vec<usize>, device: &Device) -> Self {
        let data: Vec<i32> = indices.iter().map(|&index| i32::try_from(index).expect("fewer than 2^31 rows")).collect();
        let tensor = Tensor::from_data(TensorData::from(data.as_slice()), device);
        Self { indices, tensor }
    }
}

/// Something with one row per sample.
pub trait Select {
    /// The chosen rows.
    fn choose(&self, rows: &Rows) -> Self;
}

impl<const D: usize> Select for Tensor<D> {
    fn choose(&self, rows: &Rows) -> Self {
        self.clone().select(0, rows.tensor.clone())
    }
}

impl<T: Clone> Select for Vec<T> {
    fn choose(&self, rows: &Rows) -> Self {
        rows.indices.iter().map(|&index| self[index].clone()).collect()
    }
}

/// As many values on the host for each row.
#[derive(Clone, Debug)]
pub struct HostRows<T> {
    /// How many values a row has.
    pub width: usize,
    /// The values, row by row.
    pub values: Vec<T>,
}

impl<T: Copy> Select for HostRows<T> {
    fn choose(&self, rows: &Rows) -> Self {
        let of_row = |row: usize| &self.values[row * self.width..(row + 1) * self.width];
        Self { width: self.width, values: rows.indices.iter().flat_map(|&row| of_row(row)).copied().collect() }
    }
}

/// Declares the state of an attack: a struct whose fields have one row per sample, with [`Select`] derived.
#[macro_export]
macro_rules! state {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        $visibility struct $name { $($(#[$field_meta])* $field: $type),* }

        impl $crate::Select for $name {
            fn choose(&self, rows: &$crate::Rows) -> Self {
                Self { $($field: $crate::Select::choose(&self.$field, rows)),* }
            }
        }
    };
}
