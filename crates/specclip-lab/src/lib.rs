//! Training networks whose layers are clipped, on the data sets that papers use.
//!
//! To say what clipping does to a network, the network must be trained, many times, in ways that differ in nothing
//! else. So this crate is built around one promise: *what a run sees depends only on its settings*. The images of batch
//! 7 of epoch 3, with their crops and flips, are a function of the data, the seed and the numbers 3 and 7; no generator
//! is carried from step to step, so a run that is resumed there goes on as one that was never stopped, with any number of
//! threads and whatever was drawn for other purposes in between.
//!
//! Where things are:
//!
//! - [`Dataset::load`] reads MNIST, Fashion-MNIST and CIFAR-10 from folders as torchvision and the data sets' authors lay
//!   them out, finds out by itself which of them a folder has, and checks every file against the SHA-256 sums in the
//!   `SHA256SUMS` beside it, if there is one. `scripts/fetch-data` makes such folders. A file is not trusted: what its
//!   header promises is compared with what is there before anything of that size is allocated, and labels are checked.
//! - [`Batches`] walks through a data set in batches of normalised `f32` images in NCHW order: in the epoch's own
//!   order and with random crops and flips for training ([`Batches::training`]), as they lie for evaluation
//!   ([`Batches::evaluation`]). [`Sampling`] says how; [`DatasetKind`] knows what is usual for each data set.
//!   Starting at a later batch costs nothing.
//! - [`network`] has the networks of the paper's experiments: one convolution and one dense layer, ResNet-18, and DLA,
//!   with their batch normalisations or without.
//! - [`train`] has training runs: a folder with checkpoints, an event file and a record, and the promise that a run which
//!   was killed and resumed is the same to the last bit.
//! - [`export`] writes these networks as ONNX models, or as safetensors weights with a description of their layers.
//! - [`EventWriter`] writes losses, accuracies and norms as an event file that TensorBoard shows; a resumed run first
//!   cuts the file back to the step of its checkpoint ([`EventWriter::resume`]).
//!
//! Every failure is an [`Error`] whose message is one sentence: what was wrong, in which file, and what to try.
//!
//! ```no_run
//! use specclip_lab::{Batches, Dataset, Sampling, Split};
//!
//! let data = Dataset::load("data/MNIST".as_ref(), Split::Train)?;
//! let sampling = Sampling::usual(data.kind(), 128, 0);
//! for epoch in 0..2 {
//!     for batch in Batches::training(&data, &sampling, epoch)? {
//!         assert_eq!(batch.images.len(), batch.labels.len() * 28 * 28);
//!     }
//! }
//! # Ok::<(), specclip_lab::Error>(())
//! ```

mod augment;
mod batches;
mod data;
mod error;
mod events;
pub mod export;
pub mod network;
pub mod train;

pub use augment::Augmentation;
pub use batches::{Batch, Batches, Sampling};
pub use data::{Dataset, DatasetKind, Normalization, Split};
pub use error::Error;
pub use events::EventWriter;
