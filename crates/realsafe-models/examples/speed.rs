//! Measures networks: images per second of a forward pass, and of a forward and a backward pass to the input.
//!
//! Weights do not matter for speed: each network is measured untrained, in the form that attacks see.
//! `cargo run --release -p realsafe-models --example speed [rows [network]]`

use std::time::Instant;

use burn::optim::SgdConfig;
use burn::tensor::{Device, Distribution, Tensor};
use realsafe_core::{Draws, ModelEntry, TrainableEntry, inventory};
use realsafe_models::builtin_weights;
use realsafe_plan::{Catalogue, Environment, parse_component};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().map_or(64, |text| text.parse().expect("a number of rows"));
    let wanted = arguments.next();
    let device = Device::flex();
    let environment = Environment {
        data: ".".into(),
        data_origin: "nowhere".to_owned(),
        builtin: &|name| builtin_weights(name).map(<[u8]>::to_vec),
        read_files: false,
    };
    println!("{:<20} {:>14} {:>14}", "network", "forward", "and backward");
    for ModelEntry { component, .. } in inventory::iter::<ModelEntry>() {
        if wanted.as_ref().is_some_and(|wanted| wanted != component.id) {
            continue;
        }
        let chosen = parse_component(component, component.example, &Catalogue::default(), &environment)
            .expect("its example is right");
        let entry = TrainableEntry::find(component.id).expect("it can be trained");
        let network = (entry.build)(&chosen.values, SgdConfig::new().init(), 0, &device).expect("its example is right");
        let network = network.snapshot();
        let [channels, height, width] =
            (component.model().expect("it is a model").input)(&chosen.values).expect("its example is right");
        let images = Tensor::<4>::random([rows, channels, height, width], Distribution::Uniform(0.0, 1.0), &device);
        let none = Draws::none(rows);
        let forward = || drop(network.logits(images.clone(), &none).expect("a built-in network").into_data());
        let backward = || {
            let leaf = images.clone().autodiff().require_grad();
            let mut gradients = network.logits(leaf.clone(), &none).expect("a built-in network").sum().backward();
            drop(leaf.grad_remove(&mut gradients).expect("the input is tracked").into_data());
        };
        let speed = |seconds: f64| rows as f64 / seconds;
        println!("{:<20} {:>14.0} {:>14.0}", component.id, speed(best(forward)), speed(best(backward)));
    }
}

/// The shortest of several runs, in seconds.
fn best(run: impl Fn()) -> f64 {
    run();
    let times = (0..7).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}
