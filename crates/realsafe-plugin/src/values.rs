//! The values of a component's parameters.

use realsafe_abi::{
    REALSAFE_CHOICE, REALSAFE_COUNT, REALSAFE_CROSS_ENTROPY, REALSAFE_FILE, REALSAFE_FLAG, REALSAFE_LOSS,
    REALSAFE_MARGIN, REALSAFE_NUMBER, REALSAFE_NUMBERS, REALSAFE_TEXT, RealsafeText, RealsafeValue,
};

use crate::boundary::{reference, slice};
use crate::{About, Error, Parameter};

/// The values of a component's parameters, checked against the table and with defaults filled in.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    parameters: &'static [Parameter],
    values: &'a [*const RealsafeValue],
}

/// A loss that the host computes for [`Victim::gradient`](crate::Victim::gradient).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossChoice(pub(crate) u64);

impl LossChoice {
    /// Softmax cross-entropy.
    pub const CROSS_ENTROPY: Self = Self(REALSAFE_CROSS_ENTROPY);
    /// The largest other logit minus the logit of the class.
    pub const MARGIN: Self = Self(REALSAFE_MARGIN);
}

impl<'a> Values<'a> {
    /// # Safety
    /// The values are null, or that many pointers to values that live for `'a`.
    pub(crate) unsafe fn new(about: &About, values: *const *const RealsafeValue, count: u64) -> Result<Self, Error> {
        // SAFETY: the caller's promise.
        let values = unsafe { slice(values, length(count)?) }?;
        if values.len() != about.parameters.len() {
            let (got, wanted) = (values.len(), about.parameters.len());
            return Err(Error::failed(format!("the host passed {got} values for {wanted} parameters")));
        }
        Ok(Self { parameters: about.parameters, values })
    }

    /// The value of a parameter, or none where it is not set.
    fn find(&self, name: &str, kind: u32) -> Result<Option<&'a RealsafeValue>, Error> {
        let place = self.parameters.iter().position(|parameter| parameter.name == name);
        let place = place.ok_or_else(|| Error::failed(format!("the component has no parameter `{name}`")))?;
        // SAFETY: `new` was promised values that live for `'a`.
        let value = unsafe { reference(self.values[place]) }?;
        if value.kind != 0 && value.kind != kind {
            return Err(Error::failed(format!("`{name}` is not of the kind that was asked for")));
        }
        Ok(Some(value).filter(|value| value.kind == kind))
    }

    fn get(&self, name: &str, kind: u32) -> Result<&'a RealsafeValue, Error> {
        self.find(name, kind)?.ok_or_else(|| Error::bad_value(format!("`{name}` is not set")))
    }

    /// Of a flag.
    ///
    /// # Errors
    /// It is not set, or not a flag.
    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        Ok(self.get(name, REALSAFE_FLAG)?.count != 0)
    }

    /// Of a count.
    ///
    /// # Errors
    /// It is not set, or not a count.
    pub fn count(&self, name: &str) -> Result<u64, Error> {
        Ok(self.get(name, REALSAFE_COUNT)?.count)
    }

    /// Of a count that may be unset.
    ///
    /// # Errors
    /// It is not a count.
    pub fn optional_count(&self, name: &str) -> Result<Option<u64>, Error> {
        Ok(self.find(name, REALSAFE_COUNT)?.map(|value| value.count))
    }

    /// Of a number.
    ///
    /// # Errors
    /// It is not set, or not a number.
    pub fn number(&self, name: &str) -> Result<f64, Error> {
        Ok(self.get(name, REALSAFE_NUMBER)?.number)
    }

    /// Of a number that may be unset.
    ///
    /// # Errors
    /// It is not a number.
    pub fn optional_number(&self, name: &str) -> Result<Option<f64>, Error> {
        Ok(self.find(name, REALSAFE_NUMBER)?.map(|value| value.number))
    }

    /// Of a list of numbers.
    ///
    /// # Errors
    /// It is not set, or not a list of numbers.
    pub fn numbers(&self, name: &str) -> Result<&'a [f64], Error> {
        let value = self.get(name, REALSAFE_NUMBERS)?;
        // SAFETY: the host lends so many numbers with the value.
        unsafe { slice(value.numbers, length(value.number_count)?) }
    }

    /// Of a choice.
    ///
    /// # Errors
    /// It is not set, or not a choice.
    pub fn choice(&self, name: &str) -> Result<&'a str, Error> {
        words(self.get(name, REALSAFE_CHOICE)?.text)
    }

    /// Of a text.
    ///
    /// # Errors
    /// It is not set, or not a text.
    pub fn text(&self, name: &str) -> Result<&'a str, Error> {
        words(self.get(name, REALSAFE_TEXT)?.text)
    }

    /// Of a text that may be unset.
    ///
    /// # Errors
    /// It is not a text.
    pub fn optional_text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        self.find(name, REALSAFE_TEXT)?.map(|value| words(value.text)).transpose()
    }

    /// The content of a file. In `plan` and `shape` it is not there yet.
    ///
    /// # Errors
    /// It is not set, or not a file.
    pub fn file(&self, name: &str) -> Result<&'a [u8], Error> {
        let value = self.get(name, REALSAFE_FILE)?;
        // SAFETY: the host lends so many bytes with the value.
        unsafe { slice(value.bytes, length(value.byte_count)?) }
    }

    /// Of a loss. In `plan` it is not there yet.
    ///
    /// # Errors
    /// It is not set, or not a loss.
    pub fn loss(&self, name: &str) -> Result<LossChoice, Error> {
        Ok(LossChoice(self.get(name, REALSAFE_LOSS)?.count))
    }
}

fn length(count: u64) -> Result<usize, Error> {
    usize::try_from(count).map_err(|_| Error::failed("the host passed a list that is longer than memory"))
}

fn words<'a>(text: RealsafeText) -> Result<&'a str, Error> {
    // SAFETY: the host lends so many bytes with the value.
    let bytes = unsafe { slice(text.data.cast(), length(text.length)?) }?;
    std::str::from_utf8(bytes).map_err(|_| Error::failed("the host passed a text that is not UTF-8"))
}
