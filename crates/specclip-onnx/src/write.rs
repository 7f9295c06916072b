//! New weights for a model, and the file that has them.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use specclip::{BoxedParametric, Real};

use crate::Error;
use crate::change::{Changes, Place};
use crate::invert::{Wanted, refused};
use crate::model::{Layer, Model};
use crate::onnx::{self, DataFiles};
use crate::output::{self, failed, unwritable};
use crate::spec::Spec;
use crate::splice::{self, Edit};

/// The file that a model came from, and the numbers that are no longer those of the file.
#[derive(Clone)]
pub(crate) struct ModelFile {
    /// Everything in the file that holds the weights.
    pub bytes: Bytes,
    /// Where it was read; `None` for a model in memory.
    pub path: Option<PathBuf>,
    /// The description that a safetensors file was read with; `None` for ONNX.
    pub description: Option<PathBuf>,
    pub changes: Changes,
}

impl fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_deref();
        write!(f, "{} bytes of {path:?}", self.bytes.len())
    }
}

impl ModelFile {
    pub(crate) fn new(bytes: Bytes, path: Option<&Path>, description: Option<&Path>) -> Self {
        Self {
            bytes,
            path: path.map(Path::to_owned),
            description: description.map(Path::to_owned),
            changes: Changes::default(),
        }
    }
}

impl Model {
    /// Replaces the weights of a layer, in the order and layout of [`Model::parametric`], by the nearest numbers that
    /// the file can store. Elements that are as they were keep their bits; every layer that uses the weights changes.
    ///
    /// What then runs is what [`Model::parametric`] builds from now on: weights stored in 16 bits are rounded.
    ///
    /// # Errors
    /// When the weights do not fit the layer or the type in which they are stored, or follow from the file's numbers in a
    /// way that cannot be undone. Then nothing is changed.
    pub fn set_weights<T: Real>(&mut self, layer: usize, weights: &[Vec<T>]) -> Result<(), Error> {
        let mut changes = self.file.changes.clone();
        let operator = self.parametric::<T>(layer)?;
        self.layer(layer)?
            .replace(operator, weights, &mut changes)?;
        self.file.changes = changes;
        Ok(())
    }

    /// Replaces the weights of a layer and of its batch normalisation, in the order of [`Model::composed_parametric`].
    ///
    /// # Errors
    /// As for [`Model::set_weights`].
    pub fn set_composed_weights<T: Real>(
        &mut self,
        layer: usize,
        weights: &[Vec<T>],
    ) -> Result<(), Error> {
        let Some(norm) = self.layer(layer)?.batch_norm else {
            return self.set_weights(layer, weights);
        };
        let mut changes = self.file.changes.clone();
        let operator = self.parametric::<T>(layer)?;
        let own = weights.len().min(operator.weights().len());
        self.layer(layer)?
            .replace(operator, &weights[..own], &mut changes)?;
        let operator = self.parametric::<T>(norm)?;
        self.layer(norm)?
            .replace(operator, &weights[own..], &mut changes)?;
        self.file.changes = changes;
        Ok(())
    }

    /// Whether two layers have weights in the same tensor of the file, so that replacing those of one may change the
    /// other. No layer shares with one that does not exist.
    pub fn share_weights(&self, a: usize, b: usize) -> bool {
        let places = |layer: usize| {
            self.layers
                .get(layer)
                .map(Layer::places)
                .unwrap_or_default()
        };
        let b = places(b);
        places(a).iter().any(|place| b.contains(place))
    }

    /// The files that the model was read from: itself, its description, and those that hold its data. None for a model in
    /// memory.
    pub fn files(&self) -> Vec<PathBuf> {
        let own = [self.file.path.as_ref(), self.file.description.as_ref()];
        let mut files: Vec<PathBuf> = own.into_iter().flatten().cloned().collect();
        if let (Some(model), None) = (&self.file.path, &self.file.description) {
            // What cannot be found cannot be read either.
            let data = DataFiles::find(&self.file.bytes, model);
            files.extend(
                data.into_iter()
                    .flat_map(|data| data.0)
                    .map(|(path, _)| path),
            );
        }
        files
    }

    /// Whether [`Model::write`] could write this file, asked before hours are spent on the weights. Returns all files
    /// that it would write: this one, and the copies of data beside it.
    ///
    /// # Errors
    /// As for [`Model::write`], as far as it can be told now.
    pub fn check_output(&self, path: &Path, overwrite: bool) -> Result<Vec<PathBuf>, Error> {
        let output = Output::new(&self.file, path, overwrite)?;
        output::temporary(&output.path)?;
        Ok(output.targets().map(Path::to_owned).collect())
    }

    /// Writes the model with its present weights; every other byte is as it was read. A weight keeps its type and
    /// its place.
    ///
    /// Data that an ONNX model keeps in other files is copied beside `path`: the first such file as `path` with
    /// `.data` after it, others with `.2.data`, `.3.data`, and so on; these names are the only other change. Of a
    /// safetensors model the weights are written, its description is not.
    ///
    /// The file appears whole or not at all: it is written under a temporary name in the same folder and renamed. An
    /// existing file is replaced only with `overwrite`, and never one that the model was read from. A link stays a link;
    /// the file behind it is replaced.
    ///
    /// # Errors
    /// When the name cannot be used, or the system refuses to write (no space, no permission). Then nothing is left
    /// behind.
    pub fn write(&self, path: &Path, overwrite: bool) -> Result<(), Error> {
        Output::new(&self.file, path, overwrite)?.write()
    }
}

impl Layer {
    /// Stores what in `weights` differs from the weights of `operator`, this layer's own.
    fn replace<T: Real>(
        &self,
        mut operator: BoxedParametric<T>,
        weights: &[Vec<T>],
        changes: &mut Changes,
    ) -> Result<(), Error> {
        let before: Vec<Vec<T>> = operator.weights().iter().map(|w| w.to_vec()).collect();
        operator.set_weights(weights).map_err(|e| self.refused(e))?;
        let (Some(before), Some(after)) = (before.first(), weights.first()) else {
            return Ok(());
        };
        let pairs = before.iter().zip(after);
        let wanted = pairs.map(|(b, a)| (a != b).then(|| a.to_f64()));
        self.store(wanted.collect(), changes)
    }

    /// Where the weights come from that [`Layer::store`] replaces.
    fn places(&self) -> Vec<Place> {
        let weight = match &self.spec {
            Spec::Conv { weight, .. }
            | Spec::ConvTranspose { weight, .. }
            | Spec::Dense { weight, .. } => weight,
            Spec::BatchNorm { gamma, .. } => gamma,
            Spec::AvgPool(_) | Spec::Resize(_) | Spec::Pad { .. } => return Vec::new(),
        };
        let mut tensors = Vec::new();
        weight.tensors(&mut tensors);
        tensors.iter().filter_map(|t| Place::of(t)).collect()
    }

    fn store(&self, mut wanted: Wanted, changes: &mut Changes) -> Result<(), Error> {
        let weight = match &self.spec {
            Spec::Conv { weight, .. } | Spec::ConvTranspose { weight, .. } => weight,
            Spec::Dense { weight, factor } => {
                if *factor == 0.0 && wanted.iter().any(Option::is_some) {
                    return Err(refused(&self.name, "the model multiplies it by 0"));
                }
                wanted.iter_mut().flatten().for_each(|x| *x /= factor);
                weight
            }
            Spec::BatchNorm {
                gamma,
                variance,
                epsilon,
            } => {
                let variance = variance.values::<f64>(&self.name, changes)?;
                for (factor, v) in wanted.iter_mut().zip(variance) {
                    *factor = factor.map(|f| f * (v + epsilon).sqrt());
                }
                gamma
            }
            Spec::AvgPool(_) | Spec::Resize(_) | Spec::Pad { .. } => return Ok(()),
        };
        weight.store(&wanted, &self.name, changes)
    }
}

/// A file to be written, and those beside it that hold its data.
struct Output<'a> {
    file: &'a ModelFile,
    path: PathBuf,
    overwrite: bool,
    data: Vec<Data>,
    edits: Vec<Edit>,
}

/// A copy of a data file.
struct Data {
    from: PathBuf,
    to: PathBuf,
}

impl<'a> Output<'a> {
    fn new(file: &'a ModelFile, path: &Path, overwrite: bool) -> Result<Self, Error> {
        let refuse = |problem: &str| unwritable(path, problem);
        if file.description.is_some() && !has_extension(path, "safetensors") {
            return Err(refuse(
                "the weights are those of a safetensors file, so its name must end in .safetensors",
            ));
        }
        let taken = ["safetensors", "toml"];
        if file.description.is_none() && taken.iter().any(|name| has_extension(path, name)) {
            return Err(refuse(
                "the model is an ONNX model and would be taken for another kind of file; let its name end in .onnx",
            ));
        }
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let found = match &file.path {
            Some(model) if file.description.is_none() => DataFiles::find(&file.bytes, model)?.0,
            _ => Vec::new(),
        };
        let Some(name) = real.file_name() else {
            return Err(refuse("it is no name of a file"));
        };
        let mut names = HashMap::new();
        let mut data = Vec::new();
        for (i, (from, known_as)) in found.into_iter().enumerate() {
            let Some(name) = name.to_str() else {
                return Err(refuse(
                    "its name is not Unicode text, and the model has to name its data file",
                ));
            };
            let name = match i {
                0 => format!("{name}.data"),
                _ => format!("{name}.{}.data", i + 1),
            };
            let to = real.with_file_name(&name);
            names.extend(known_as.into_iter().map(|known| (known, name.clone())));
            data.push(Data { from, to });
        }
        let output = Self {
            edits: onnx::edits(&file.bytes, &file.changes, &names)
                .map_err(|problem| refuse(&problem))?,
            file,
            path: real,
            overwrite,
            data,
        };
        output.check()?;
        Ok(output)
    }

    /// Everything that will be written.
    fn targets(&self) -> impl Iterator<Item = &Path> {
        let data = self.data.iter().map(|d| d.to.as_path());
        std::iter::once(self.path.as_path()).chain(data)
    }

    fn check(&self) -> Result<(), Error> {
        let sources = [self.file.path.as_ref(), self.file.description.as_ref()];
        let sources = sources.into_iter().flatten();
        let sources = sources.chain(self.data.iter().map(|d| &d.from));
        let sources: Vec<&Path> = sources.map(PathBuf::as_path).collect();
        output::check(self.targets(), &sources, self.overwrite)
    }

    fn write(&self) -> Result<(), Error> {
        let mut copies = Vec::with_capacity(self.data.len());
        for data in &self.data {
            let mut copy = output::temporary(&self.path)?;
            let patches = self.patches(&data.from);
            self.copy(&data.from, &patches, copy.as_file_mut())?;
            copies.push((copy, data.to.as_path()));
        }
        let model = output::temporary(&self.path)?;
        let mut to = BufWriter::new(model.as_file());
        splice::write(&self.file.bytes, &self.edits, &mut to)
            .and_then(|()| to.flush())
            .and_then(|()| model.as_file().sync_all())
            .map_err(|e| failed(&self.path, &e))?;
        drop(to);
        output::publish((model, &self.path), copies, self.overwrite)
    }

    /// New bytes of a data file, and where they begin.
    fn patches(&self, from: &Path) -> Vec<(u64, &Bytes)> {
        let changes = self.file.changes.iter();
        let patch = changes.filter_map(|(place, change)| match place {
            Place::File(path, offset) if path == from => Some((*offset, &change.bytes)),
            _ => None,
        });
        patch.collect()
    }

    fn copy(&self, from: &Path, patches: &[(u64, &Bytes)], to: &mut File) -> Result<(), Error> {
        let mut original = File::open(from).map_err(|e| Error::read(from, e))?;
        let copied = io::copy(&mut original, to).and_then(|_| {
            for (offset, bytes) in patches {
                to.seek(SeekFrom::Start(*offset))?;
                to.write_all(bytes)?;
            }
            to.sync_all()
        });
        copied.map_err(|e| failed(&self.path, &e))
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case(extension))
}
