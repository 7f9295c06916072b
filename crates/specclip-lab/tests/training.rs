//! Runs as a library has them, on images that the test makes.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use specclip_burn::Clipper;
use specclip_lab::network::{Network, NetworkConfig};
use specclip_lab::train::{
    BatchNorms, Checkpoint, ClipMethod, Data, Epoch, Observer, Options, Progress, Recipe, Run,
    Settings, Target,
};
use specclip_lab::{Batches, Dataset, DatasetKind, Error, Sampling};

/// Images whose brightest rows say their label.
fn dataset(count: usize) -> Dataset {
    let labels: Vec<u8> = (0..count).map(|i| (i * 7 % 10) as u8).collect();
    let pixels = labels.iter().enumerate().flat_map(|(i, &label)| {
        (0..28 * 28).map(move |place| {
            let bright = place / 56 == usize::from(label) + 2;
            (place * (i + 3) % 61) as u8 + if bright { 150 } else { 0 }
        })
    });
    Dataset::new(DatasetKind::Mnist, pixels.collect(), labels).unwrap()
}

fn data() -> Data {
    Data {
        train: dataset(200),
        test: dataset(50),
        folder: PathBuf::from("made"),
    }
}

fn settings() -> Settings {
    let mut settings = Recipe::Simple.settings(DatasetKind::Mnist, rayon::current_num_threads());
    let NetworkConfig::SimpleConv(config) = &mut settings.network else {
        panic!("{settings:?}");
    };
    config.channels = 4;
    config.batch_norm = true;
    settings.epochs = 3;
    settings.batch = 10;
    settings.learning_rate = 0.05;
    settings.clipping.method = ClipMethod::Projection;
    settings.clipping.every = 8;
    settings.clipping.targets.push(Target {
        layers: "*".to_owned(),
        norm: 1.0,
    });
    settings
}

#[derive(Default)]
struct Counted {
    steps: u64,
    /// Batches of test images of the epoch that ends, of how many.
    tested: (u64, u64),
    epochs: Vec<u32>,
}

impl Observer for Counted {
    fn step(&mut self, progress: &Progress) {
        self.steps += 1;
        assert_eq!((progress.epochs, progress.batches), (3, 20));
    }

    fn test(&mut self, batch: u64, batches: u64) {
        assert_eq!(batch, self.tested.0 + 1);
        self.tested = (batch, batches);
    }

    fn epoch(&mut self, epoch: &Epoch) {
        assert!(self.tested.0 > 0 && self.tested.0 == self.tested.1);
        self.tested = (0, 0);
        self.epochs.push(epoch.epoch);
    }
}

/// The share of the test images that a network reads.
fn accuracy(network: &Network, settings: &Settings, data: &Dataset) -> f64 {
    let sampling = Sampling {
        normalization: settings.normalization,
        ..Sampling::usual(DatasetKind::Mnist, data.len(), 0)
    };
    let batch = Batches::evaluation(data, &sampling)
        .unwrap()
        .next()
        .unwrap();
    let images = TensorData::new(batch.images, [data.len(), 1, 28, 28]);
    let logits = network.forward(Tensor::from_data(images, &Device::flex()));
    let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
    let right = logits.chunks(10).zip(&batch.labels).filter(|(row, label)| {
        let own = row[usize::from(**label)];
        row.iter().all(|&z| z <= own)
    });
    right.count() as f64 / data.len() as f64
}

#[test]
fn a_run_its_record_and_its_best_network() {
    let folder = tempfile::tempdir().unwrap();
    let (data, settings) = (data(), settings());
    let run = Run::start(folder.path(), settings.clone(), &data, Options::default()).unwrap();
    let mut counted = Counted::default();
    let record = run.finish(&mut counted).unwrap();
    assert_eq!((counted.steps, counted.epochs), (60, vec![1, 2, 3]));
    assert!(record.finished);
    assert_eq!((record.position.epoch, record.position.step), (3, 60));
    assert!(record.epochs[2].test_accuracy > 0.5, "{record:?}");
    let best = record.epochs.iter().map(|epoch| epoch.test_accuracy);
    let best = best.fold(0.0, f64::max);
    let path = folder.path().join("best.safetensors");
    let (loaded, network) = Checkpoint::load(&path).unwrap();
    assert_eq!(loaded, settings);
    // In inference, with the running statistics of the checkpoint.
    assert_eq!(accuracy(&network, &settings, &data.test), best);

    let again = Run::resume(folder.path(), &settings, &data, Options::default()).unwrap();
    let mut counted = Counted::default();
    assert_eq!(again.finish(&mut counted).unwrap(), record);
    assert_eq!(counted.steps, 0);
}

/// Two epochs and then one more are three.
#[test]
fn a_run_that_is_over_may_get_more_epochs() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (data, settings) = (data(), settings());
    let options = Options::default;
    let run = Run::start(whole.path(), settings.clone(), &data, options()).unwrap();
    let expected = run.finish(&mut Counted::default()).unwrap();
    let mut short = settings.clone();
    short.epochs = 2;
    let run = Run::start(parts.path(), short.clone(), &data, options()).unwrap();
    assert_eq!(run.finish(&mut Any).unwrap().epochs.len(), 2);
    let run = Run::resume(parts.path(), &settings, &data, options()).unwrap();
    let found = run.finish(&mut Any).unwrap();
    assert_eq!(found.settings, expected.settings);
    assert!(found.finished);
    for (found, expected) in found.epochs.iter().zip(&expected.epochs) {
        let figures = |e: &Epoch| (e.step, e.train_loss, e.test_loss, e.layers.clone());
        assert_eq!(figures(found), figures(expected));
    }
    // Fewer than there were is another run, and so are more where steps have ended it.
    let fewer = Run::resume(parts.path(), &short, &data, options());
    assert!(matches!(fewer.err(), Some(Error::Different { .. })));
    let ended = tempfile::tempdir().unwrap();
    short.steps = Some(30);
    let run = Run::start(ended.path(), short.clone(), &data, options()).unwrap();
    run.finish(&mut Any).unwrap();
    short.epochs = 3;
    let more = Run::resume(ended.path(), &short, &data, options());
    assert!(matches!(more.err(), Some(Error::Different { .. })));
}

/// Looks at nothing.
struct Any;

impl Observer for Any {
    fn step(&mut self, _: &Progress) {}
    fn epoch(&mut self, _: &Epoch) {}
}

/// The clip at the end of an epoch is there even where its last step is not a multiple of `every`, and it is counted.
#[test]
fn the_network_that_an_epoch_ends_with_obeys() {
    let folder = tempfile::tempdir().unwrap();
    let (data, mut settings) = (data(), settings());
    settings.clipping.every = 1000;
    settings.clipping.targets[0].norm = 0.3;
    let run = Run::start(folder.path(), settings, &data, Options::default()).unwrap();
    let record = run.finish(&mut Counted::default()).unwrap();
    let counts: Vec<u64> = record
        .epochs
        .iter()
        .map(|epoch| epoch.clips.count)
        .collect();
    assert_eq!(counts, [1, 1, 1]);
    for epoch in &record.epochs {
        assert!(epoch.largest().unwrap().norm <= 0.3 * 1.001);
    }
    assert_eq!(record.epochs[0].layers[0].target, Some(0.3));
    // Of those that have a target, where there are any.
    let mut epoch = record.epochs[0].clone();
    epoch.layers[1].target = None;
    epoch.layers[1].norm = 9.0;
    assert_eq!(epoch.largest().unwrap().name, epoch.layers[0].name);
    epoch.layers[0].target = None;
    assert_eq!(epoch.largest().unwrap().norm, 9.0);
}

/// A clip at the end of an epoch that changes the scale of a layer a lot leaves batch normalisations with statistics of
/// the layer as it is now.
#[test]
fn statistics_are_those_of_clipped_layers() {
    let folder = tempfile::tempdir().unwrap();
    let (data, mut settings) = (data(), settings());
    settings.clipping.every = 1000;
    settings.clipping.targets[0].norm = 0.1;
    let run = Run::start(folder.path(), settings.clone(), &data, Options::default()).unwrap();
    run.finish(&mut Counted::default()).unwrap();
    let path = folder.path().join("last.safetensors");
    let (_, network) = Checkpoint::load(&path).unwrap();
    let Network::SimpleConv(net) = &network else {
        panic!("{network:?}");
    };
    let sampling = Sampling {
        normalization: settings.normalization,
        ..Sampling::usual(DatasetKind::Mnist, data.train.len(), 0)
    };
    let batch = Batches::evaluation(&data.train, &sampling)
        .unwrap()
        .next()
        .unwrap();
    let images = TensorData::new(batch.images, [data.train.len(), 1, 28, 28]);
    let images = Tensor::from_data(images, &Device::flex());
    let outputs: Tensor<4> = net.convolution().conv.forward(images);
    let outputs = outputs.swap_dims(0, 1).reshape([4, -1]);
    let found: Vec<f32> = outputs.var(1).into_data().iter::<f32>().collect();
    let norm = net.convolution().norm.as_ref().unwrap();
    let kept: Vec<f32> = norm
        .running_var
        .value_sync()
        .into_data()
        .iter::<f32>()
        .collect();
    for (found, kept) in found.iter().zip(&kept) {
        // Of ten batches, with images mirrored at random.
        assert!((kept / found - 1.0).abs() < 0.3, "{kept} {found}");
    }
}

/// The norms of a record are those of the network that is saved, whatever batch normalisations do.
#[test]
fn norms_are_those_of_the_checkpoint_with_batch_norms() {
    let all = [BatchNorms::Keep, BatchNorms::Clip, BatchNorms::Compose];
    for (batch_norms, method) in all
        .into_iter()
        .flat_map(|b| [ClipMethod::Projection, ClipMethod::FastClip].map(|m| (b, m)))
    {
        let folder = tempfile::tempdir().unwrap();
        let (data, mut settings) = (data(), settings());
        settings.clipping.method = method;
        settings.clipping.batch_norms = batch_norms;
        let run = Run::start(folder.path(), settings.clone(), &data, Options::default()).unwrap();
        let record = run.finish(&mut Counted::default()).unwrap();
        let path = folder.path().join("last.safetensors");
        let (_, network) = Checkpoint::load(&path).unwrap();
        let Network::SimpleConv(net) = &network else {
            panic!("{network:?}");
        };
        let kinds = match batch_norms {
            BatchNorms::Keep => specclip_burn::BatchNorms::Keep,
            BatchNorms::Clip => specclip_burn::BatchNorms::Clip,
            BatchNorms::Compose => specclip_burn::BatchNorms::Compose,
        };
        let clipper = Clipper::trace(net, &[1, 28, 28], |net, x| net.forward(x)).unwrap();
        let mut clipper = clipper.batch_norms(kinds);
        clipper.clip(net.clone()).unwrap();
        let layers = &record.epochs.last().unwrap().layers;
        assert_eq!(layers.len(), clipper.report().len());
        for (layer, found) in layers.iter().zip(clipper.report()) {
            let difference = (layer.norm / found.after - 1.0).abs();
            assert!(difference < 1e-3, "{batch_norms:?}: {layer:?} {found:?}");
        }
        assert_eq!(
            accuracy(&network, &settings, &data.test),
            record.epochs[2].test_accuracy
        );
    }
}

/// What the record says of a rival's layers is what the network that is loaded has, and its accuracy is that of this
/// network: with spectral normalisation neither is that of the weights that are trained.
#[test]
fn rivals_are_measured_and_loaded_as_they_are_used() {
    for method in [
        ClipMethod::ScaleEachStep,
        ClipMethod::SpectralNorm,
        ClipMethod::GramPenalty,
        ClipMethod::SoftCap,
        ClipMethod::Hammer,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (data, mut settings) = (data(), settings());
        settings.epochs = 3;
        settings.clipping.method = method;
        let dense = matches!(method, ClipMethod::SoftCap | ClipMethod::Hammer);
        settings.clipping.targets[0].layers = if dense { "head" } else { "*" }.to_owned();
        settings.clipping.targets[0].norm = 0.6;
        let run = Run::start(folder.path(), settings.clone(), &data, Options::default()).unwrap();
        let record = run.finish(&mut Counted::default()).unwrap();
        let path = folder.path().join("last.safetensors");
        let (_, network) = Checkpoint::load(&path).unwrap();
        let last = record.epochs.last().unwrap();
        let found = accuracy(&network, &settings, &data.test);
        assert_eq!(found, last.test_accuracy, "{method:?}");
        let Network::SimpleConv(net) = &network else {
            panic!("{network:?}");
        };
        let mut free = Clipper::trace(net, &[1, 28, 28], |net, x| net.forward(x)).unwrap();
        free.clip(net.clone()).unwrap();
        assert_eq!(last.layers.len(), 2);
        for (layer, found) in last.layers.iter().zip(free.report()) {
            assert!(layer.converged && found.converged);
            let difference = (layer.norm / found.after - 1.0).abs();
            assert!(difference < 1e-3, "{method:?}: {layer:?} {found:?}");
        }
        let head = &last.layers[1];
        // The penalty holds nothing down for certain; the others have followed the dense layer's norm, which is that of its matrix.
        if method != ClipMethod::GramPenalty {
            assert!((head.norm / 0.6 - 1.0).abs() < 0.05, "{method:?}: {head:?}");
        }
        assert_eq!(last.clips.count, 0, "{method:?}");
    }
}

#[test]
fn a_folder_without_a_run_and_another_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let (data, mut settings) = (data(), settings());
    assert!(Checkpoint::of_run(folder.path()).unwrap().is_none());
    let resumed = Run::resume(folder.path(), &settings, &data, Options::default());
    assert!(matches!(resumed.err(), Some(Error::Read { .. })));
    settings.threads += 1;
    let started = Run::start(folder.path(), settings, &data, Options::default());
    assert!(started.err().unwrap().to_string().contains("threads"));
}
