//! minicbor's reader and writer, one call for each item.

use avvy_model::{Event, NumberedEdit};
use minicbor::{Decoder, Encoder};

use super::{Head, read_record, write_record};

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;
type Taken<T> = Result<T, minicbor::decode::Error>;

pub(super) fn read(message: &[u8]) -> Option<Vec<NumberedEdit>> {
    read_update(&mut Decoder::new(message)).ok().flatten()
}

fn read_update(from: &mut Decoder<'_>) -> Taken<Option<Vec<NumberedEdit>>> {
    let mut is_update = false;
    let mut edits = None;
    for _ in 0..from.map()?.unwrap_or(0) {
        match from.str()? {
            "op" => is_update = from.str()? == "object.update",
            "edits" => {
                let count = from.array()?.unwrap_or(0);
                let list: Taken<Option<Vec<_>>> = (0..count).map(|_| read_edit(from)).collect();
                edits = list?;
            }
            _ => from.skip()?,
        }
    }
    Ok(edits.filter(|_| is_update))
}

fn read_edit(from: &mut Decoder<'_>) -> Taken<Option<NumberedEdit>> {
    let (mut record, mut counter, mut is_move) = (&[][..], 0, false);
    for _ in 0..from.map()?.unwrap_or(0) {
        match from.str()? {
            "m" => record = from.bytes()?,
            "n" => counter = from.u64()?,
            "op" => is_move = from.str()? == "move",
            _ => from.skip()?,
        }
    }
    Ok(if is_move { read_record(counter, record) } else { None })
}

pub(super) fn write(head: Head, events: &[Event]) -> Vec<u8> {
    let mut records = Vec::with_capacity(23 * events.len());
    events.iter().for_each(|event| write_record(event, &mut records));
    let mut out = Encoder::new(Vec::with_capacity(128 + 24 * events.len()));
    // Writing to a vector cannot fail.
    let _ = write_flush(head, events.len() as u64, &records, &mut out);
    out.into_writer()
}

fn write_flush(head: Head, count: u64, records: &[u8], out: &mut Encoder<Vec<u8>>) -> Written {
    out.map(9)?.str("ch")?.u32(head.channel.0)?.str("ms")?.u64(head.ms)?;
    out.str("to")?.u64(head.from.0 + count)?.str("log")?.array(1)?.bytes(records)?;
    out.str("from")?.u64(head.from.0)?.str("epoch")?.u64(head.epoch.0)?;
    out.str("event")?.str("entity.update")?.str("durable")?.u64(head.durable.0)?;
    out.str("timestamp")?.u64(head.ms / 1_000)?;
    Ok(())
}
