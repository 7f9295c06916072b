//! A run: from its beginning, or from its last checkpoint, to its end.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use super::checkpoint::{Begun, Checkpoint, FORMAT, State, refuse};
use super::data::{Data, DataId};
use super::figures::{Epoch, Position};
use super::folder::{Folder, has_run};
use super::learner::{Learner, timed};
use super::optimizer::Memory;
use super::parameters;
use super::record::Record;
use super::resume::{check, compare, restore};
use super::score::Score;
use super::settings::{BatchNorms, Settings};
use crate::batches::Batches;
use crate::error::Error;
use crate::events::EventWriter;
use crate::network::Network;

/// After how many steps the batch's loss and accuracy go to the event file.
const LOG_EVERY: u64 = 10;

/// What may differ between two processes that work on the same run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Steps between two checkpoints within an epoch; there is one at the end of each epoch in any case.
    pub checkpoint_every: u64,
    /// The machine's processor, for the record.
    pub processor: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            checkpoint_every: 100,
            processor: String::new(),
        }
    }
}

/// How an epoch is going.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Which epoch, from 1 on.
    pub epoch: u32,
    /// How many there will be.
    pub epochs: u32,
    /// Steps made in it.
    pub batch: u64,
    /// How many it has.
    pub batches: u64,
    /// The mean cross entropy of its images so far, in nats.
    pub loss: f64,
    /// The share of them that was right, 0 to 1.
    pub accuracy: f64,
}

/// Who is told how a run is going.
pub trait Observer {
    /// After each step.
    fn step(&mut self, progress: &Progress);
    /// At the end of an epoch, after each batch of test images: how many are done, of how many.
    fn test(&mut self, _batch: u64, _batches: u64) {}
    /// At the end of each epoch, before its checkpoint is written.
    fn epoch(&mut self, epoch: &Epoch);
}

/// A run in its folder.
pub struct Run<'a> {
    folder: Folder,
    options: Options,
    settings: Settings,
    data: &'a Data,
    id: DataId,
    position: Position,
    begun: Begun,
    epochs: Vec<Epoch>,
    learner: Learner,
    network: Network,
    events: EventWriter,
}

impl<'a> Run<'a> {
    /// Begins a run in a folder that is empty or not there.
    ///
    /// # Errors
    /// When the folder has files or cannot be written, another process is at work in it, or the settings
    /// make no run on these images.
    pub fn start(
        folder: &Path,
        settings: Settings,
        data: &'a Data,
        options: Options,
    ) -> Result<Self, Error> {
        check(&settings, data)?;
        let device = Device::flex().autodiff();
        let network = parameters::drawn(settings.seed, &device, || settings.network.init(&device))?;
        let learner = Learner::new(&settings, &network, &device)?;
        // Before anything is written to it, and once more when no other process can.
        Folder::check_empty(folder)?;
        let folder = Folder::open(folder)?;
        Folder::check_empty(folder.path())?;
        folder.forget_events()?;
        let run = Self {
            // Written at once, so that there is something to resume from the first step on.
            events: EventWriter::create(&folder.events())?,
            id: data.id(),
            folder,
            options,
            settings,
            data,
            position: Position::default(),
            begun: Begun::default(),
            epochs: Vec::new(),
            learner,
            network,
        };
        run.save(false)?;
        Ok(run)
    }

    /// Goes on with the run in a folder, from its last checkpoint; with more epochs, if the settings ask for them.
    ///
    /// # Errors
    /// When there is none or it is damaged, settings or images are not those of the run, another
    /// process is at work on it, or a file cannot be read or written.
    pub fn resume(
        folder: &Path,
        settings: &Settings,
        data: &'a Data,
        options: Options,
    ) -> Result<Self, Error> {
        check(settings, data)?;
        let folder = Folder::open(folder)?;
        let path = folder.last();
        let mut checkpoint = Checkpoint::read(&path)?;
        compare(&folder, &checkpoint.state, settings, data)?;
        let device = Device::flex().autodiff();
        let network = checkpoint.network(&path, &device)?;
        let mut learner = Learner::new(settings, &network, &device)?;
        let Checkpoint {
            state, optimizer, ..
        } = checkpoint;
        restore(&mut learner, &network, &state, optimizer).map_err(|e| refuse(&path, e))?;
        // Before anything that the run has written is cut back to it.
        check_position(&state, data).map_err(|e| refuse(&path, e))?;
        let run = Self {
            events: EventWriter::resume(&folder.events(), state.position.step)?,
            folder,
            options,
            settings: settings.clone(),
            data,
            id: state.data,
            position: state.position,
            begun: state.begun,
            epochs: state.epochs,
            learner,
            network,
        };
        run.write_record()?;
        Ok(run)
    }

    /// Goes on with the run in a folder, or begins it where there is none.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`resume`](Self::resume).
    pub fn open(
        folder: &Path,
        settings: Settings,
        data: &'a Data,
        options: Options,
    ) -> Result<Self, Error> {
        if has_run(folder)? {
            Self::resume(folder, &settings, data, options)
        } else {
            Self::start(folder, settings, data, options)
        }
    }

    /// What it is.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The images that it learns from.
    pub fn data(&self) -> &DataId {
        &self.id
    }

    /// Whether there is nothing left to do.
    pub fn is_over(&self) -> bool {
        self.settings.is_over(self.position)
    }

    /// Where it is.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The figures of its epochs so far.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Trains until the run is over, and returns its record.
    ///
    /// # Errors
    /// When the loss is no longer finite, a layer cannot be clipped, or a file cannot be written. What the
    /// last checkpoint has is not lost.
    pub fn finish(mut self, observer: &mut dyn Observer) -> Result<Record, Error> {
        while !self.is_over() {
            self = self.epoch(observer)?;
        }
        Ok(self.record())
    }

    /// The rest of an epoch.
    fn epoch(mut self, observer: &mut dyn Observer) -> Result<Self, Error> {
        let data = self.data;
        let rate = self.settings.learning_rate_in(self.position.epoch);
        let batches =
            Batches::training(&data.train, &self.settings.sampling(), self.position.epoch)?;
        let total = batches.len() as u64;
        let mut batches = batches.skip(self.position.batch as usize);
        while let Some(batch) = timed(&mut self.begun.seconds.training, || batches.next()) {
            let at = (self.position.step + 1, rate);
            let seconds = &mut self.begun.seconds;
            let stepped = self.learner.step(self.network, batch, at, seconds)?;
            self.network = stepped.0;
            self.position.step += 1;
            self.position.batch += 1;
            self.count(stepped.1, rate)?;
            observer.step(&self.progress(total));
            if self.settings.is_over(self.position) {
                break;
            }
            let every = self.options.checkpoint_every.max(1);
            if self.position.batch < total && self.position.batch.is_multiple_of(every) {
                self.save(false)?;
            }
        }
        self.end_epoch(rate, total, observer)
    }

    /// The score of a step, and the clip in it, if there was one.
    fn count(&mut self, score: Score, rate: f64) -> Result<(), Error> {
        let step = self.position.step;
        self.begun.score.add(score);
        if step.is_multiple_of(LOG_EVERY) {
            self.events.scalars(
                step,
                &[
                    ("train/loss", score.loss() as f32),
                    ("train/accuracy", score.accuracy() as f32),
                    ("learning_rate", rate as f32),
                ],
            )?;
        }
        if self.clips_at(step) {
            self.count_clip()?;
        }
        Ok(())
    }

    fn clips_at(&self, step: u64) -> bool {
        self.learner.clips() && step.is_multiple_of(self.settings.clipping.every)
    }

    fn count_clip(&mut self) -> Result<(), Error> {
        let report = self.learner.clipper.report();
        self.begun.clips.add(report);
        let values = report.iter().flat_map(|layer| {
            let before = (format!("before/{}", layer.name), layer.before as f32);
            [
                before,
                (format!("after/{}", layer.name), layer.after as f32),
            ]
        });
        let values: Vec<(String, f32)> = values.collect();
        let values: Vec<(&str, f32)> = values.iter().map(|(t, v)| (t.as_str(), *v)).collect();
        self.events.scalars(self.position.step, &values)
    }

    /// Measures, and writes everything.
    fn end_epoch(
        mut self,
        rate: f64,
        total: u64,
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        let epoch = self.position.epoch;
        if self.position.batch >= total {
            self.position.epoch += 1;
            self.position.batch = 0;
        }
        // What is measured, and may be kept as the best, obeys, even where its last step was not one that
        // clips.
        if self.learner.clips() && !self.clips_at(self.position.step) {
            let (learner, step) = (&mut self.learner, self.position.step);
            let spent = &mut self.begun.seconds.clipping;
            self.network = timed(spent, || learner.clip(self.network, step))?;
            self.count_clip()?;
        }
        // Where batch normalisations belong to what is clipped, their statistics are part of the norm.
        let kept = self.settings.clipping.batch_norms == BatchNorms::Keep;
        if self.learner.clips() && kept && self.settings.network.batch_norm() {
            let sampling = self.settings.sampling();
            let batches = Batches::training(&self.data.train, &sampling, epoch)?;
            let spent = &mut self.begun.seconds.evaluation;
            timed(spent, || {
                self.learner.measure_statistics(&self.network, batches);
            });
        }
        let figures = self.measure(rate, observer)?;
        observer.epoch(&figures);
        let best = self
            .epochs
            .iter()
            .all(|earlier| figures.test_accuracy > earlier.test_accuracy);
        self.epochs.push(figures);
        self.begun = Begun::default();
        self.save(best)?;
        Ok(self)
    }

    /// The figures of the epoch that ends.
    fn measure(&mut self, rate: f64, observer: &mut dyn Observer) -> Result<Epoch, Error> {
        let mut seconds = self.begun.seconds;
        let (learner, network) = (&mut self.learner, &self.network);
        let measured = timed(&mut seconds.evaluation, || {
            let told = |batch, batches| observer.test(batch, batches);
            let score = learner.evaluate(network, &self.data.test, &self.settings, told)?;
            if !score.is_finite() {
                return Err(Error::Diverged {
                    step: self.position.step,
                });
            }
            if !learner.clips() {
                // It only measures.
                learner.clip(network.valid(), self.position.step)?;
            }
            Ok(score)
        });
        let (test, layers) = (measured?, self.learner.norms());
        let step = self.position.step;
        let mut values = vec![
            ("test/loss".to_owned(), test.loss() as f32),
            ("test/accuracy".to_owned(), test.accuracy() as f32),
        ];
        values.extend(
            layers
                .iter()
                .map(|layer| (format!("norm/{}", layer.name), layer.norm as f32)),
        );
        let values: Vec<(&str, f32)> = values.iter().map(|(t, v)| (t.as_str(), *v)).collect();
        self.events.scalars(step, &values)?;
        Ok(Epoch {
            epoch: self.epochs.len() as u32 + 1,
            step,
            learning_rate: rate,
            train_loss: self.begun.score.loss(),
            train_accuracy: self.begun.score.accuracy(),
            test_loss: test.loss(),
            test_accuracy: test.accuracy(),
            layers,
            clips: self.begun.clips,
            seconds,
        })
    }

    /// Writes the record and the last checkpoint, and before them the best if this is it.
    fn save(&self, best: bool) -> Result<(), Error> {
        let Memory { tensors, counts } = self.learner.optimizer.memory();
        let checkpoint = Checkpoint {
            state: State {
                format: FORMAT,
                settings: self.settings.clone(),
                data: self.id.clone(),
                position: self.position,
                begun: self.begun,
                epochs: self.epochs.clone(),
                clipper: self.learner.clipper.state(),
                optimizer: counts,
            },
            parameters: parameters::save(&self.network),
            optimizer: tensors,
        };
        // Nothing can go on from it, and a loss shows it only a step later.
        if !checkpoint.is_finite() {
            return Err(Error::Diverged {
                step: self.position.step,
            });
        }
        let bytes = checkpoint.to_bytes(&self.folder.last())?;
        // A checkpoint that is there has all events before it.
        self.events.sync()?;
        if best {
            self.folder.replace(&self.folder.best(), &bytes)?;
        }
        self.folder.replace(&self.folder.last(), &bytes)?;
        self.write_record()
    }

    fn record(&self) -> Record {
        Record::new(
            &self.settings,
            &self.id,
            self.position,
            &self.epochs,
            &self.options.processor,
        )
    }

    fn write_record(&self) -> Result<(), Error> {
        let path = self.folder.record();
        let json = serde_json::to_vec_pretty(&self.record());
        let json = json.map_err(|error| Error::write(&path, error.into()))?;
        self.folder.replace(&path, &json)
    }

    fn progress(&self, batches: u64) -> Progress {
        Progress {
            epoch: self.position.epoch + 1,
            epochs: self.settings.epochs,
            batch: self.position.batch,
            batches,
            loss: self.begun.score.loss(),
            accuracy: self.begun.score.accuracy(),
        }
    }
}

/// A place that is not in the data is that of a damaged checkpoint.
fn check_position(state: &State, data: &Data) -> Result<(), String> {
    let Position { epoch, batch, step } = state.position;
    let batches = data.train.len().div_ceil(state.settings.batch.max(1)) as u64;
    let expected = u64::from(epoch).checked_mul(batches);
    let expected = expected.and_then(|steps| steps.checked_add(batch));
    if batch < batches && expected == Some(step) {
        return Ok(());
    }
    Err(format!(
        "it says that {step} steps are done, and {batch} of {batches} in epoch {}",
        u64::from(epoch) + 1
    ))
}
