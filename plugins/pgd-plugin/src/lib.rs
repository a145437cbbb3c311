//! Projected gradient descent as a shared library.

realsafe_plugin::export!(pgd::PLUGIN);
