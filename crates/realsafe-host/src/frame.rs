//! Messages between host and worker: a header, and arrays that are sent as they lie in memory.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::aligned::Aligned;

/// The most bytes of a header, which holds files, and of the arrays of a message. More is nonsense.
const MOST_BYTES: u64 = 1 << 30;
/// The most arrays of a message.
const MOST_ARRAYS: usize = 16;

#[derive(Serialize, Deserialize)]
struct Header<T> {
    lengths: Vec<u64>,
    message: T,
}

pub(crate) fn send(writer: &mut impl Write, message: &impl Serialize, arrays: &[&[u8]]) -> io::Result<()> {
    let lengths: Vec<_> = arrays.iter().map(|array| array.len() as u64).collect();
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, "a message of more than 1 GiB");
    if lengths.iter().sum::<u64>() > MOST_BYTES {
        return Err(too_long());
    }
    // The length of the header goes where its place is kept.
    let mut bytes = postcard::to_extend(&Header { lengths, message }, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).ok().filter(|length| u64::from(*length) <= MOST_BYTES);
    bytes[..4].copy_from_slice(&length.ok_or_else(too_long)?.to_le_bytes());
    writer.write_all(&bytes)?;
    arrays.iter().try_for_each(|array| writer.write_all(array))
}

/// Reads a message. The end of the stream is an error of the kind `UnexpectedEof`, nonsense one of `InvalidData`.
pub(crate) fn receive<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<(T, Vec<Aligned>)> {
    let nonsense = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if u64::from(length) > MOST_BYTES {
        return Err(nonsense("a header that is too long"));
    }
    let mut bytes = Aligned::zeroed(length as usize);
    reader.read_exact(bytes.bytes_mut())?;
    let (header, rest) =
        postcard::take_from_bytes::<Header<T>>(bytes.bytes()).map_err(|error| nonsense(&error.to_string()))?;
    let total = header.lengths.iter().try_fold(0_u64, |total, length| total.checked_add(*length));
    if !rest.is_empty() || header.lengths.len() > MOST_ARRAYS || total.is_none_or(|total| total > MOST_BYTES) {
        return Err(nonsense("a header that makes no sense"));
    }
    let arrays = header.lengths.iter().map(|length| {
        let mut array = Aligned::zeroed(*length as usize);
        reader.read_exact(array.bytes_mut())?;
        Ok(array)
    });
    Ok((header.message, arrays.collect::<io::Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_as_they_were_sent() {
        let mut bytes = Vec::new();
        send(&mut bytes, &("question", 7_u64), &[&[1, 2, 3], &[]]).unwrap();
        let (message, arrays) = receive::<(String, u64)>(&mut bytes.as_slice()).unwrap();
        assert_eq!(message, ("question".to_owned(), 7));
        assert_eq!(arrays.iter().map(Aligned::bytes).collect::<Vec<_>>(), [&[1, 2, 3][..], &[]]);
    }

    #[test]
    fn nonsense_is_refused_before_memory_is_taken() {
        let kind = |bytes: &[u8]| receive::<u64>(&mut &*bytes).err().map(|error| error.kind());
        assert_eq!(kind(&[255; 64]), Some(io::ErrorKind::InvalidData));
        assert_eq!(kind(&[]), Some(io::ErrorKind::UnexpectedEof));
        let header = postcard::to_allocvec(&Header { lengths: vec![u64::MAX, 2], message: 0_u64 }).unwrap();
        let huge = [&(header.len() as u32).to_le_bytes()[..], &header].concat();
        assert_eq!(kind(&huge), Some(io::ErrorKind::InvalidData));
    }
}
