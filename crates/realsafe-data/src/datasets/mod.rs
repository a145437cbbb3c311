//! The datasets: every file is a component.

mod cifar10;
mod digits;
mod images;
mod mnist;

#[cfg(test)]
mod tests;
