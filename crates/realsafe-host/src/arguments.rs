//! Arguments as plugins see them.

use std::marker::PhantomData;

use realsafe_abi::{
    REALSAFE_CHOICE, REALSAFE_COUNT, REALSAFE_FILE, REALSAFE_FLAG, REALSAFE_LOSS, REALSAFE_NUMBER, REALSAFE_NUMBERS,
    REALSAFE_TEXT, RealsafeText, RealsafeValue,
};

use crate::aligned::{Aligned, Lent};
use crate::{Argument, Component, Failure, FailureKind, ParameterKind};

/// The values of a component's parameters, as long as the arguments live.
pub(crate) struct Values<'a> {
    pointers: Vec<*const RealsafeValue>,
    /// What the pointers point to.
    _values: Vec<RealsafeValue>,
    /// What the values point to where arguments are not aligned.
    _copies: Vec<Aligned>,
    arguments: PhantomData<&'a [Argument]>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(component: &Component, arguments: &'a [Argument]) -> Result<Self, Failure> {
        let bad = |reason| Err(Failure::new(FailureKind::BadValue, reason));
        let parameters = &component.parameters;
        if arguments.len() != parameters.len() {
            let counts = format!("{} values for the {} parameters", arguments.len(), parameters.len());
            return bad(format!("there are {counts} of `{}`", component.id));
        }
        let mut values = Vec::with_capacity(arguments.len());
        let mut copies = Vec::new();
        for (parameter, argument) in parameters.iter().zip(arguments) {
            if !fits(parameter.kind, argument) {
                return bad(format!("`{}` of `{}` has a value of another kind", parameter.name, component.id));
            }
            values.push(value(argument, &mut copies));
        }
        let pointers = values.iter().map(|value| value as *const RealsafeValue).collect();
        Ok(Self { pointers, _values: values, _copies: copies, arguments: PhantomData })
    }

    pub(crate) fn pointer(&self) -> *const *const RealsafeValue {
        self.pointers.as_ptr()
    }

    pub(crate) fn count(&self) -> u64 {
        self.pointers.len() as u64
    }
}

fn fits(kind: ParameterKind, argument: &Argument) -> bool {
    match argument {
        Argument::Unset => true,
        Argument::Flag(_) => kind == ParameterKind::Flag,
        Argument::Count(_) => kind == ParameterKind::Count,
        Argument::Number(_) => kind == ParameterKind::Number,
        Argument::Numbers(_) => kind == ParameterKind::Numbers,
        Argument::Choice(_) => kind == ParameterKind::Choice,
        Argument::Text(_) => kind == ParameterKind::Text,
        Argument::File(..) => kind == ParameterKind::File,
        Argument::Loss(_) => kind == ParameterKind::Loss,
    }
}

fn value(argument: &Argument, copies: &mut Vec<Aligned>) -> RealsafeValue {
    let mut value = RealsafeValue {
        size: size_of::<RealsafeValue>() as u32,
        kind: 0,
        count: 0,
        number: 0.0,
        numbers: std::ptr::null(),
        number_count: 0,
        text: RealsafeText { data: std::ptr::null(), length: 0 },
        bytes: std::ptr::null(),
        byte_count: 0,
    };
    let text = |text: &str| RealsafeText { data: text.as_ptr().cast(), length: text.len() as u64 };
    match argument {
        Argument::Unset => {}
        Argument::Flag(flag) => (value.kind, value.count) = (REALSAFE_FLAG, (*flag).into()),
        Argument::Count(count) => (value.kind, value.count) = (REALSAFE_COUNT, *count),
        Argument::Number(number) => (value.kind, value.number) = (REALSAFE_NUMBER, *number),
        Argument::Numbers(numbers) => {
            let array = Lent::new(numbers.as_slice());
            (value.kind, value.numbers, value.number_count) = (REALSAFE_NUMBERS, array.pointer(), numbers.len() as u64);
            copies.extend(array.into_copy());
        }
        Argument::Choice(choice) => (value.kind, value.text) = (REALSAFE_CHOICE, text(choice)),
        Argument::Text(content) => (value.kind, value.text) = (REALSAFE_TEXT, text(content)),
        Argument::File(name, content) => {
            let array = Lent::new(content.as_slice());
            (value.kind, value.text) = (REALSAFE_FILE, text(name));
            (value.bytes, value.byte_count) = (array.pointer(), content.len() as u64);
            copies.extend(array.into_copy());
        }
        Argument::Loss(loss) => (value.kind, value.count) = (REALSAFE_LOSS, *loss),
    }
    value
}
