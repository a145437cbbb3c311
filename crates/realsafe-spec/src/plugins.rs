//! Plugins of a command: where they are looked for, whether they are trusted, and where their code runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use realsafe_core::Registry;
use realsafe_host::{
    Candidate, Digest, Limits, LoadError, Lock, LockError, Manifest, PATH_VARIABLE, Plugin, Verdict, Workers, find,
};
use realsafe_plan::{Diagnostic, Diagnostics, Kind, PluginFile, plugins_of_spec};

use crate::catalogue::Components;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interruption;
use crate::terminal;

/// The file that says which plugins may be loaded.
pub(crate) const LOCK: &str = "realsafe.lock";
/// The folder that is always searched.
const FOLDER: &str = "plugins";
/// The hidden command of worker processes.
pub(crate) const WORKER: &str = "plugin-worker";

/// What is linked into the program.
static LINKED: OnceLock<Vec<&'static realsafe_abi::RealsafePlugin>> = OnceLock::new();

/// Notes the plugins that are linked into the program.
pub(crate) fn link(plugins: &[&'static realsafe_abi::RealsafePlugin]) {
    LINKED.get_or_init(|| plugins.to_vec());
}

/// The options about plugins.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Plugins")]
pub(crate) struct PluginOptions {
    /// Use a plugin, beside those of the specs, $REALSAFE_PLUGIN_PATH and ./plugins
    #[arg(long = "plugin", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    hosting: Hosting,
}

/// The options about where the code of plugins runs.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Plugins")]
pub(crate) struct Hosting {
    /// How long a plugin may take for one answer
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    plugin_deadline: u64,
    /// How much memory a worker process of a plugin may take
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    plugin_memory: u64,
    /// Run plugins in this process: for debuggers; a crash ends everything
    #[arg(long)]
    plugins_in_process: bool,
}

impl PluginOptions {
    /// All components: those that are linked in, and those of trusted plugins.
    ///
    /// # Errors
    /// A plugin that is named is not trusted or cannot be used, or names clash.
    pub(crate) fn components(&self, specs: &[&Path]) -> Result<Components, Failure> {
        let mut shelf = Shelf { registry: Registry::linked(), names: BTreeMap::new() };
        for table in LINKED.get().into_iter().flatten() {
            let plugin = Plugin::linked(table).map_err(|error| refused(&error))?;
            shelf.add(&plugin, "the program itself")?;
        }
        let wanted: Vec<PluginFile> = specs.iter().flat_map(|spec| plugins_of_spec(spec)).collect();
        check(&wanted)?;
        let lock = Lock::read(Path::new(LOCK)).map_err(unreadable)?;
        let (mut offers, mut loaded) = (Vec::new(), BTreeMap::<Digest, Plugin>::new());
        for candidate in candidates(&self.files, &wanted)? {
            let named = self.is_named(&candidate, &wanted);
            let digest = Digest::of_file(&candidate.path)?;
            if let Some(copy) = loaded.get(&digest) {
                check_name(copy, &candidate, &wanted)?;
                continue;
            }
            match lock.verdict(Path::new(LOCK), &candidate.path, digest) {
                Verdict::Trusted => match self.hosting.load(&candidate.path, digest) {
                    Ok(plugin) => {
                        check_name(&plugin, &candidate, &wanted)?;
                        shelf.add(&plugin, &candidate.origin)?;
                        loaded.insert(digest, plugin);
                    }
                    Err(error) if named => return Err(refused(&error)),
                    Err(error) => terminal::warning(&error.to_string()),
                },
                Verdict::Changed(_) => return Err(changed(&candidate)),
                Verdict::Unknown if named => return Err(unknown(&candidate)),
                Verdict::Unknown => offers.push(candidate),
            }
        }
        let mut catalogue = shelf.registry.catalogue().map_err(|message| {
            Failure::new(Exit::Refused, message)
                .hint("use one of them only, or rename the component of your own plugin")
        })?;
        for candidate in offers {
            // A manifest that cannot be read offers nothing; `plugin list` tells why.
            let Ok(Some(manifest)) = Manifest::beside(&candidate.path) else { continue };
            for component in manifest.components {
                if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == component.kind) {
                    catalogue.offer(kind, &component.id, offer(&candidate.path));
                }
            }
        }
        Ok(Components { registry: Arc::new(shelf.registry), catalogue })
    }

    fn is_named(&self, candidate: &Candidate, wanted: &[PluginFile]) -> bool {
        let mut files = self.files.iter().chain(wanted.iter().map(|file| &file.path));
        files.any(|file| is_same(file, &candidate.path))
    }
}

impl Hosting {
    /// Loads a trusted plugin.
    pub(crate) fn load(&self, path: &Path, digest: Digest) -> Result<Plugin, LoadError> {
        if self.plugins_in_process {
            return Plugin::in_process(path, digest);
        }
        let limits = Limits {
            deadline: Duration::from_secs(self.plugin_deadline),
            memory: Some(self.plugin_memory.saturating_mul(1 << 20)),
        };
        let command = || {
            // A program that was replaced meanwhile still is this one.
            let program = std::env::current_exe().unwrap_or_else(|_| "realsafe-spec".into());
            let mut command = std::process::Command::new(program);
            command.arg(WORKER);
            command
        };
        Plugin::isolated(path, digest, Workers { command: Arc::new(command), limits, cancelled: interruption::flag() })
    }
}

/// The plugin files that are there, each with who names it: the command line, specs, the variable, or the folder.
pub(crate) fn candidates(files: &[PathBuf], wanted: &[PluginFile]) -> Result<Vec<Candidate>, Failure> {
    let files = files.iter().map(|file| (file.clone(), "--plugin".to_owned()));
    let of_specs = wanted.iter().map(|file| (file.path.clone(), format!("the spec {}", file.place.source.name)));
    let named: Vec<(PathBuf, String)> = files.chain(of_specs).collect();
    find(&named, std::env::var_os(PATH_VARIABLE).as_deref(), Path::new(FOLDER))
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

/// Components that are being collected.
struct Shelf {
    registry: Registry,
    /// Where the plugin of each name comes from.
    names: BTreeMap<String, String>,
}

impl Shelf {
    fn add(&mut self, plugin: &Plugin, origin: &str) -> Result<(), Failure> {
        let description = plugin.description();
        description.warnings.iter().for_each(|warning| terminal::warning(warning));
        let source = match plugin.path() {
            Some(path) => format!("{} (from {origin})", path.display()),
            None => origin.to_owned(),
        };
        if let Some(other) = self.names.insert(description.name.clone(), source.clone()) {
            let message = format!("two plugins are named `{}`: {other} and {source}", description.name);
            return Err(Failure::new(Exit::Refused, message).hint("use one of them only"));
        }
        realsafe_runner::register(plugin, &mut self.registry)
            .map_err(|message| Failure::new(Exit::Refused, format!("the plugin {source} cannot be used: {message}")))
    }
}

/// Checks that what specs name is there, and is what they mean.
fn check(wanted: &[PluginFile]) -> Result<(), Failure> {
    let mut mistakes = Diagnostics::default();
    for file in wanted {
        let path = file.path.display();
        match (Digest::of_file(&file.path), &file.blake3) {
            (Err(_), _) if !file.path.is_file() => {
                let problem = Diagnostic::at(&file.place, format!("the plugin `{path}` does not exist"));
                mistakes.push(problem.help("paths of plugins are relative to the spec that names them"));
            }
            (Err(error), _) => mistakes.push(Diagnostic::at(&file.place, error.to_string())),
            (Ok(found), Some(expected)) if found.to_string() != *expected => {
                let problem = Diagnostic::at(&file.place, format!("`{path}` is not the plugin that the spec means"));
                mistakes.push(problem.label(format!("the file has {found}")).help("get the right file"));
            }
            _ => {}
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes.into()) }
}

/// Checks that a plugin has the name that a spec calls it by.
fn check_name(plugin: &Plugin, candidate: &Candidate, wanted: &[PluginFile]) -> Result<(), Failure> {
    let name = &plugin.description().name;
    match wanted.iter().find(|file| is_same(&file.path, &candidate.path) && file.name != *name) {
        None => Ok(()),
        Some(file) => {
            let problem = Diagnostic::at(&file.place, format!("this plugin is named `{name}`"));
            Err(Diagnostics::from(problem.help(format!("write {name} = ..."))).into())
        }
    }
}

fn is_same(file: &Path, canonical: &Path) -> bool {
    fs_err::canonicalize(file).is_ok_and(|file| file == canonical)
}

pub(crate) fn refused(error: &LoadError) -> Failure {
    Failure::new(Exit::Refused, error.to_string())
}

pub(crate) fn unreadable(error: LockError) -> Failure {
    let exit = if matches!(error, LockError::Malformed { .. }) { Exit::Refused } else { Exit::Internal };
    Failure::new(exit, error.to_string())
}

/// A path as people would write it here.
pub(crate) fn here(path: &Path) -> String {
    let folder = std::env::current_dir().and_then(fs_err::canonicalize).unwrap_or_default();
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

pub(crate) fn changed(candidate: &Candidate) -> Failure {
    let path = here(&candidate.path);
    let message = format!("the plugin {path} (from {}) has changed since it was trusted", candidate.origin);
    Failure::new(Exit::Refused, message)
        .hint(format!("if you know why, trust it again: `realsafe-spec plugin trust {path}`"))
}

pub(crate) fn unknown(candidate: &Candidate) -> Failure {
    let path = here(&candidate.path);
    let message = format!("the plugin {path} (from {}) is not trusted", candidate.origin);
    Failure::new(Exit::Refused, message).hint(format!(
        "plugins can do whatever you can; if you know where it comes from: `realsafe-spec plugin trust {path}`"
    ))
}

fn offer(path: &Path) -> String {
    let path = here(path);
    format!("the plugin {path} says that it has it, but is not trusted: `realsafe-spec plugin trust {path}`")
}
