//! Event files that TensorBoard reads: scalars over steps.

mod frame;
mod proto;

use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::Error;
use frame::Frame;
use proto::{Event, Summary, SummaryValue};

/// What the first event of a file says.
const VERSION: &str = "brain.Event:2";

/// Writes scalars to an event file that TensorBoard shows.
///
/// TensorBoard finds files that have "tfevents" in their names. An event is handed to the operating system as a whole when
/// it is added, so a process that is killed leaves at most one event that is not whole, at the end of the file; reading
/// TensorBoard waits there, and [`EventWriter::resume`] removes it. Steps do not go back.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
    /// The step of the last event with scalars.
    last: u64,
}

impl EventWriter {
    /// Starts a new event file.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path) -> Result<Self, Error> {
        Self::create_at(path, now())
    }

    fn create_at(path: &Path, wall_time: f64) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|e| Error::write(path, e))?;
        Self::start(file, path, wall_time)
    }

    /// Writes the first event to an empty file.
    fn start(file: File, path: &Path, wall_time: f64) -> Result<Self, Error> {
        let mut writer = Self {
            file,
            path: path.to_owned(),
            last: 0,
        };
        writer.write(&Event {
            wall_time,
            file_version: Some(VERSION.to_owned()),
            ..Event::default()
        })?;
        Ok(writer)
    }

    /// Goes on with an event file after `step`: later events are removed, and the end of the file if the event there is
    /// not whole. A file that is empty or not there is started.
    ///
    /// # Errors
    /// When the file is not an event file, is damaged before its end, or cannot be read or written. Then it is left as
    /// it is.
    pub fn resume(path: &Path, step: u64) -> Result<Self, Error> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Self::create(path),
            Err(e) => return Err(Error::read(path, e)),
        };
        let length = file.metadata().map_err(|e| Error::read(path, e))?.len();
        if length == 0 {
            return Self::start(file, path, now());
        }
        let kept = keep(&file, length, path, step)?;
        file.set_len(kept.bytes)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|e| Error::write(path, e))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            last: kept.step,
        })
    }

    /// Adds the values of one step, each with its tag, such as `train/loss`. Values that are not finite are shown as such.
    ///
    /// # Errors
    /// When the step is before that of the last event, or the file cannot be written, for example because the disk is
    /// full; then the event is not in the file, not even in part.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f32)]) -> Result<(), Error> {
        self.scalars_at(now(), step, values)
    }

    fn scalars_at(
        &mut self,
        wall_time: f64,
        step: u64,
        values: &[(&str, f32)],
    ) -> Result<(), Error> {
        if step < self.last {
            return Err(Error::StepBack {
                path: self.path.clone(),
                step,
                last: self.last,
            });
        }
        let value = values
            .iter()
            .map(|&(tag, value)| SummaryValue {
                tag: tag.to_owned(),
                simple_value: Some(value),
            })
            .collect();
        self.write(&Event {
            wall_time,
            // TensorBoard's steps are signed; none is ever beyond.
            step: step.try_into().unwrap_or(i64::MAX),
            file_version: None,
            summary: Some(Summary { value }),
        })?;
        self.last = step;
        Ok(())
    }

    /// Brings all events to the disk, so that none of them is missing after a power cut.
    ///
    /// # Errors
    /// When that fails.
    pub fn sync(&self) -> Result<(), Error> {
        let synced = self.file.sync_data();
        synced.map_err(|e| Error::write(&self.path, e))
    }

    /// Writes one event, or leaves the file as it is.
    fn write(&mut self, event: &Event) -> Result<(), Error> {
        let frame = frame::frame(&event.encode_to_vec());
        let attempt = |file: &mut File| -> std::io::Result<()> {
            let before = file.stream_position()?;
            let written = file.write_all(&frame);
            if written.is_err() {
                // What matters is the first failure; a part that stays is removed by the next resumption.
                let _ = file.set_len(before);
                let _ = file.seek(SeekFrom::Start(before));
            }
            written
        };
        attempt(&mut self.file).map_err(|e| Error::write(&self.path, e))
    }
}

/// What remains of a file that is cut back.
struct Kept {
    bytes: u64,
    /// The step of the last event that remains.
    step: u64,
}

/// How much of an event file is not after a step.
fn keep(file: &File, length: u64, path: &Path, step: u64) -> Result<Kept, Error> {
    let refuse = |problem: String| Error::Events {
        path: path.to_owned(),
        problem,
    };
    let mut reader = BufReader::new(file);
    let mut kept = Kept { bytes: 0, step: 0 };
    loop {
        let at = kept.bytes;
        let read = frame::read(&mut reader, length - at).map_err(|e| Error::read(path, e))?;
        let record = match read {
            Frame::Whole(record) => record,
            // The first record says that this is an event file: without it, nothing is removed.
            Frame::Cut if at == 0 => {
                return Err(refuse("its first record is not whole".to_owned()));
            }
            Frame::Cut => return Ok(kept),
            Frame::Damaged => {
                return Err(refuse(format!(
                    "a checksum of the record at byte {at} is wrong"
                )));
            }
        };
        let event = Event::decode(record.as_slice())
            .map_err(|_| refuse(format!("the record at byte {at} is not an event")))?;
        if at == 0 && event.file_version.is_none() {
            return Err(refuse(
                "its first record does not name a version".to_owned(),
            ));
        }
        // A negative step is no later than any other.
        let event_step = u64::try_from(event.step).unwrap_or(0);
        if event_step > step {
            return Ok(kept);
        }
        kept.step = event_step.max(kept.step);
        kept.bytes += frame::length(&record);
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests;
