//! The networks: every file is a component.

mod cifar_resnet;
mod cifar_resnet_v2;
mod convolution_stack;
mod digits_cnn;
mod inception_v3;
mod lenet;
mod madry_resnet;
mod preact_resnet;
mod resnet;
mod small_cnn;
mod small_resnet;
mod squeezenet;
mod vgg;
mod wide_resnet;
