//! Operators that compute each element from those at its place, and what chooses between elements.

use burn::tensor::{Bool, Tensor, activation};

use super::{Call, Run, one};
use crate::dense::{Dense, RANK};
use crate::host::{Host, Kind, broadcast, offset, strides};
use crate::value::Value;

type Plain = Tensor<RANK>;
type Mask = Tensor<RANK, Bool>;
type Results = Result<Vec<Value>, String>;

/// The function of an operator, where it is one of these.
pub(super) fn find(operator: &str) -> Option<Run> {
    let run: Run = match operator {
        "Neg" => |call| unary(call, |x| -x, |x| -x),
        "Abs" => |call| unary(call, f64::abs, Tensor::abs),
        "Sqrt" => |call| unary(call, f64::sqrt, Tensor::sqrt),
        "Exp" => |call| unary(call, f64::exp, Tensor::exp),
        "Log" => |call| unary(call, f64::ln, Tensor::log),
        "Sin" => |call| unary(call, f64::sin, Tensor::sin),
        "Cos" => |call| unary(call, f64::cos, Tensor::cos),
        "Atan" => |call| unary(call, f64::atan, Tensor::atan),
        "Tanh" => |call| unary(call, f64::tanh, Tensor::tanh),
        "Floor" => |call| unary(call, f64::floor, Tensor::floor),
        "Ceil" => |call| unary(call, f64::ceil, Tensor::ceil),
        "Round" => |call| unary(call, f64::round_ties_even, Tensor::round),
        "Sign" => |call| unary(call, |x| if x == 0.0 { 0.0 } else { x.signum() }, Tensor::sign),
        "Reciprocal" => |call| unary(call, f64::recip, Tensor::recip),
        "Erf" => |call| activation(call, |_, x| x.erf()),
        "Relu" => |call| unary(call, |x| x.max(0.0), activation::relu),
        "Sigmoid" => |call| unary(call, |x| 1.0 / (1.0 + (-x).exp()), activation::sigmoid),
        "Softplus" => |call| activation(call, |_, x| activation::softplus(x, 1.0)),
        "Softsign" => |call| activation(call, |_, x| activation::softsign(x)),
        "Mish" => |call| activation(call, |_, x| activation::mish(x)),
        "HardSwish" => |call| activation(call, |_, x| activation::hard_swish(x)),
        "HardSigmoid" => |call| {
            activation(call, |call, x| {
                activation::hard_sigmoid(x, setting(call, "alpha", 0.2), setting(call, "beta", 0.5))
            })
        },
        "LeakyRelu" => |call| activation(call, |call, x| activation::leaky_relu(x, setting(call, "alpha", 0.01))),
        "ThresholdedRelu" => {
            |call| activation(call, |call, x| activation::thresholded_relu(x, setting(call, "alpha", 1.0)))
        }
        "Elu" => |call| activation(call, |call, x| activation::elu(x, setting(call, "alpha", 1.0))),
        "Celu" => |call| activation(call, |call, x| activation::celu(x, setting(call, "alpha", 1.0))),
        "Selu" => |call| {
            activation(call, |call, x| {
                activation::elu(x, setting(call, "alpha", 1.673_263_2)) * setting(call, "gamma", 1.050_701)
            })
        },
        "Swish" => |call| activation(call, |call, x| x.clone() * activation::sigmoid(x * setting(call, "alpha", 1.0))),
        "Gelu" => |call| {
            activation(call, |call, x| match call.node.text("approximate") {
                Some("tanh") => activation::gelu_approximate(x),
                _ => activation::gelu(x),
            })
        },
        "PRelu" => |call| {
            let (x, slope) = (call.dense(0)?, call.dense(1)?);
            broadcast(&x.shape(), &slope.shape())?;
            one(x.map(|x| activation::relu(x.clone()) - activation::relu(-x) * slope.tensor))
        },
        "Add" => |call| binary(call, |a, b| a + b, |a, b| a + b),
        "Sub" => |call| binary(call, |a, b| a - b, |a, b| a - b),
        "Mul" => |call| binary(call, |a, b| a * b, |a, b| a * b),
        "Div" => divide,
        "Mod" => remainder,
        "Pow" => power,
        "Min" => |call| variadic(call, f64::min, Tensor::min_pair),
        "Max" => |call| variadic(call, f64::max, Tensor::max_pair),
        "Sum" => |call| variadic(call, |a, b| a + b, |a, b| a + b),
        "Clip" => clip,
        "Equal" => |call| compare(call, |a, b| a == b, Tensor::equal),
        "Less" => |call| compare(call, |a, b| a < b, Tensor::lower),
        "LessOrEqual" => |call| compare(call, |a, b| a <= b, Tensor::lower_equal),
        "Greater" => |call| compare(call, |a, b| a > b, Tensor::greater),
        "GreaterOrEqual" => |call| compare(call, |a, b| a >= b, Tensor::greater_equal),
        "And" => |call| logic(call, |a, b| a && b, |a, b| a.bool_and(b)),
        "Or" => |call| logic(call, |a, b| a || b, |a, b| a.bool_or(b)),
        "Xor" => |call| logic(call, |a, b| a != b, |a, b| a.bool_xor(b)),
        "Not" => |call| match call.input(0)? {
            Value::Host(host) => {
                let values = host.values.iter().map(|value| f64::from(*value == 0.0)).collect();
                one(Host::new(Kind::Boolean, host.shape.clone(), values))
            }
            value => one(value.mask(call.device).map(|mask| mask.bool_not())),
        },
        "IsNaN" => |call| match call.input(0)? {
            Value::Host(host) => {
                let values = host.values.iter().map(|value| f64::from(value.is_nan())).collect();
                one(Host::new(Kind::Boolean, host.shape.clone(), values))
            }
            value => one(value.dense(call.device).map(|numbers| numbers.is_nan())),
        },
        "Where" => choose,
        "Cast" => cast,
        "Identity" => |call| Ok(vec![call.input(0)?]),
        "Dropout" => dropout,
        _ => return None,
    };
    Some(run)
}

fn setting(call: &Call<'_>, name: &str, default: f64) -> f64 {
    call.node.float(name).unwrap_or(default)
}

fn unary(call: &Call<'_>, on_host: fn(f64) -> f64, on_device: fn(Plain) -> Plain) -> Results {
    match call.input(0)? {
        Value::Host(host) => {
            let values = host.values.iter().map(|value| on_host(*value)).collect();
            one(Host::new(host.kind, host.shape.clone(), values))
        }
        value => one(value.dense(call.device).map(on_device)),
    }
}

/// A function of floats that shape arithmetic has no use for.
fn activation(call: &Call<'_>, on_device: fn(&Call<'_>, Plain) -> Plain) -> Results {
    one(call.dense(0)?.map(|x| on_device(call, x)))
}

/// Combines arrays that are broadcast to one shape.
fn combine(kind: Kind, a: &Host, b: &Host, with: impl Fn(f64, f64) -> f64) -> Result<Host, String> {
    let shape = broadcast(&a.shape, &b.shape)?;
    let steps = |host: &Host| {
        let mut steps = vec![0; shape.len() - host.shape.len()];
        steps.extend(
            strides(&host.shape).iter().zip(&host.shape).map(|(step, size)| if *size == 1 { 0 } else { *step }),
        );
        steps
    };
    let (to_a, to_b) = (steps(a), steps(b));
    let values = crate::host::indices(&shape)
        .map(|index| with(a.values[offset(&index, &to_a)], b.values[offset(&index, &to_b)]))
        .collect();
    Ok(Host::new(kind, shape, values))
}

fn pair(
    a: Value,
    b: Value,
    call: &Call<'_>,
    on_host: impl Fn(f64, f64) -> f64,
    on_device: impl FnOnce(Plain, Plain) -> Plain,
) -> Result<Value, String> {
    if let (Value::Host(a), Value::Host(b)) = (&a, &b) {
        return Ok(combine(a.kind, a, b, on_host)?.into());
    }
    let rank = broadcast(&a.shape(), &b.shape())?.len();
    let (a, b) = (a.dense(call.device).tensor, b.dense(call.device).tensor);
    Ok(Dense::new(on_device(a, b), rank).into())
}

fn binary(call: &Call<'_>, on_host: fn(f64, f64) -> f64, on_device: fn(Plain, Plain) -> Plain) -> Results {
    Ok(vec![pair(call.input(0)?, call.input(1)?, call, on_host, on_device)?])
}

fn variadic(call: &Call<'_>, on_host: fn(f64, f64) -> f64, on_device: fn(Plain, Plain) -> Plain) -> Results {
    let mut result = call.input(0)?;
    for index in 1..call.inputs.len() {
        result = pair(result, call.input(index)?, call, on_host, on_device)?;
    }
    Ok(vec![result])
}

/// Nothing, in evaluation state.
fn dropout(call: &Call<'_>) -> Results {
    let training = call.optional_host(2)?.and_then(|training| training.scalar());
    if training.is_some_and(|training| training != 0.0) {
        return Err("it is in training state, in which activations are left out; export in evaluation state".to_owned());
    }
    Ok(vec![call.input(0)?])
}

fn is_integer(value: &Value) -> bool {
    matches!(value, Value::Host(host) if host.kind == Kind::Integer)
}

fn divide(call: &Call<'_>) -> Results {
    if is_integer(&call.input(0)?) {
        return binary(call, |a, b| (a / b).trunc(), |a, b| a / b);
    }
    binary(call, |a, b| a / b, |a, b| a / b)
}

fn remainder(call: &Call<'_>) -> Results {
    if call.node.integer("fmod") == Some(1) {
        return match (call.input(0)?, call.input(1)?) {
            (Value::Host(a), Value::Host(b)) => one(combine(a.kind, &a, &b, |a, b| a % b)?),
            _ => Err("the remainder with the sign of the dividend is supported for sizes only".to_owned()),
        };
    }
    binary(call, |a, b| a - b * (a / b).floor(), |a, b| a.remainder(b))
}

fn power(call: &Call<'_>) -> Results {
    let (base, exponent) = (call.input(0)?, call.input(1)?);
    let scalar = if let Value::Host(exponent) = &exponent { exponent.scalar() } else { None };
    if let (Some(scalar), false) = (scalar, matches!(base, Value::Host(_))) {
        let rank = broadcast(&base.shape(), &exponent.shape())?.len();
        let base = base.dense(call.device).tensor;
        let result = match scalar {
            1.0 => base,
            2.0 => base.clone() * base,
            3.0 => base.clone() * base.clone() * base,
            0.5 => base.sqrt(),
            -1.0 => base.recip(),
            scalar => base.powf_scalar(scalar),
        };
        return one(Dense::new(result, rank));
    }
    Ok(vec![pair(base, exponent, call, f64::powf, Tensor::powf)?])
}

fn clip(call: &Call<'_>) -> Results {
    let bound = |name: &str, index| -> Result<Option<f64>, String> {
        if let Some(bound) = call.node.float(name) {
            return Ok(Some(bound));
        }
        let Some(host) = call.optional_host(index)? else { return Ok(None) };
        host.scalar().map(Some).ok_or_else(|| format!("`{name}` is no single number"))
    };
    let least = bound("min", 1)?.unwrap_or(f64::NEG_INFINITY);
    let most = bound("max", 2)?.unwrap_or(f64::INFINITY);
    match call.input(0)? {
        Value::Host(host) => {
            let values = host.values.iter().map(|value| value.max(least).min(most)).collect();
            one(Host::new(host.kind, host.shape.clone(), values))
        }
        value => one(value.dense(call.device).map(|mut x| {
            if least > f64::from(f32::MIN) {
                x = x.clamp_min(least);
            }
            if most < f64::from(f32::MAX) {
                x = x.clamp_max(most);
            }
            x
        })),
    }
}

fn compare(call: &Call<'_>, on_host: fn(&f64, &f64) -> bool, on_device: fn(Plain, Plain) -> Mask) -> Results {
    let (a, b) = (call.input(0)?, call.input(1)?);
    if let (Value::Host(a), Value::Host(b)) = (&a, &b) {
        return one(combine(Kind::Boolean, a, b, |a, b| f64::from(on_host(&a, &b)))?);
    }
    let shape = broadcast(&a.shape(), &b.shape())?;
    let a = a.dense(call.device).expand(&shape).tensor;
    let b = b.dense(call.device).expand(&shape).tensor;
    one(Dense::new(on_device(a, b), shape.len()))
}

fn logic(call: &Call<'_>, on_host: fn(bool, bool) -> bool, on_device: fn(Mask, Mask) -> Mask) -> Results {
    let (a, b) = (call.input(0)?, call.input(1)?);
    if let (Value::Host(a), Value::Host(b)) = (&a, &b) {
        return one(combine(Kind::Boolean, a, b, |a, b| f64::from(on_host(a != 0.0, b != 0.0)))?);
    }
    let shape = broadcast(&a.shape(), &b.shape())?;
    let a = a.mask(call.device).expand(&shape).tensor;
    let b = b.mask(call.device).expand(&shape).tensor;
    one(Dense::new(on_device(a, b), shape.len()))
}

fn choose(call: &Call<'_>) -> Results {
    let (mask, a, b) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let shape = broadcast(&mask.shape(), &broadcast(&a.shape(), &b.shape())?)?;
    if let (Value::Host(mask), Value::Host(a), Value::Host(b)) = (&mask, &a, &b) {
        let whole = Host::new(Kind::Float, shape.clone(), vec![0.0; shape.iter().product()]);
        let spread = |host: &Host| combine(host.kind, host, &whole, |value, _| value);
        let (mask, a, b) = (spread(mask)?, spread(a)?, spread(b)?);
        let values = (0..mask.values.len()).map(|at| if mask.values[at] == 0.0 { b.values[at] } else { a.values[at] });
        return one(Host::new(a.kind, shape, values.collect()));
    }
    let mask = mask.mask(call.device).expand(&shape).tensor;
    let a = a.dense(call.device).expand(&shape).tensor;
    let b = b.dense(call.device).expand(&shape).tensor;
    one(Dense::new(b.mask_where(mask, a), shape.len()))
}

fn cast(call: &Call<'_>) -> Results {
    // The numbers of the element types in `onnx.proto`.
    let to = match call.node.integer("to") {
        Some(1 | 10 | 11 | 16) => Kind::Float,
        Some(2..=7 | 12 | 13) => Kind::Integer,
        Some(9) => Kind::Boolean,
        other => return Err(format!("elements cannot become those of type {}", other.unwrap_or_default())),
    };
    match (call.input(0)?, to) {
        (Value::Host(host), Kind::Float) => one(Host::new(to, host.shape.clone(), host.values.clone())),
        (Value::Host(host), Kind::Integer) => {
            one(Host::new(to, host.shape.clone(), host.values.iter().map(|value| value.trunc()).collect()))
        }
        (Value::Host(host), Kind::Boolean) => {
            let values = host.values.iter().map(|value| f64::from(*value != 0.0)).collect();
            one(Host::new(to, host.shape.clone(), values))
        }
        (value, Kind::Float) => one(value.dense(call.device)),
        (value, Kind::Boolean) => one(value.mask(call.device)),
        (_, Kind::Integer) => Err("integers that depend on the images are not supported".to_owned()),
    }
}
