//! Training runs: what they are made of, and how they go on after any interruption.
//!
//! A [`Run`] is a folder. It has two checkpoints, `best.safetensors` and `last.safetensors`, an event
//! file for TensorBoard, and `run.json`, the record of all figures. [`Settings`] say what a run is;
//! together with the data and the program they decide every bit of it. So a run may be killed at any
//! moment: [`Run::resume`] goes on from `last.safetensors`, repeats what was lost, and ends with the
//! same checkpoints and the same record as a run that was never interrupted, times excepted.
//!
//! That needs sums in a fixed order. The convolutions of specclip and the matrix products of Burn's
//! CPU backend divide their work by the number of threads and add up in an order that depends on
//! nothing else; Burn's sums and means over axes run in a fixed order. Its sum over *all* elements of a
//! tensor does not, from 4 million elements on (`sum_f32_parallel` of burn-flex 0.22.1): no step here
//! makes one, the loss is a mean over a batch. The number of threads is therefore one of the settings.
//!
//! An epoch ends with a clip. Where batch normalisations are no part of what is clipped, their running statistics are measured anew
//! after it, so that the network that is measured and kept obeys and works.
//!
//! A step of training is: a batch that depends on seed, epoch and place alone ([`crate::Batches`]); the
//! mean cross entropy and its gradient; a step of the optimiser; and what the
//! [`Clipper`](specclip_burn::Clipper) does to the new weights.

mod checkpoint;
mod data;
mod figures;
mod folder;
mod learner;
mod optimizer;
mod parameters;
mod recipe;
mod record;
mod resume;
mod run;
mod score;
mod settings;

pub use checkpoint::Checkpoint;
pub use data::{Data, DataId};
pub use figures::{Clips, Epoch, LayerNorm, Position, Seconds};
pub use optimizer::OptimizerConfig;
pub use recipe::Recipe;
pub use record::Record;
pub use run::{Observer, Options, Progress, Run};
pub use settings::{BatchNorms, ClipMethod, Clipping, Schedule, Settings, Target};
