//! The networks: every file is a component.

mod cifar_resnet;
mod convolution_stack;
mod digits_cnn;
mod lenet;
mod small_cnn;
mod small_resnet;
mod squeezenet;
