//! Installing libwtcache: both libraries, headers, and what pkg-config and CMake find them by; then programs are compiled against what was
//! installed, and run.
//!
//! What is installed names its own place by where it lies, so it may be moved. Invariant: what was installed passed the checks, or the
//! task failed and said so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, root, run, target};

/// What the libraries show, one name a line.
pub(crate) const SYMBOLS: &str = "ffi/packaging/symbols.txt";

pub(crate) fn task(mut args: impl Iterator<Item = String>) -> Result<(), String> {
    match (args.next().as_deref(), args.next(), args.next()) {
        (Some("--prefix"), Some(prefix), None) => {
            let prefix = std::path::absolute(&prefix).map_err(|error| format!("{prefix}: {error}"))?;
            Installed::at(&prefix)?.check()
        }
        _ => Err("install takes --prefix DIR".to_owned()),
    }
}

/// Installs below the target directory, checks that, moves it and checks it again.
pub(crate) fn check() -> Result<(), String> {
    if let Err(message) = supported() {
        println!("SKIPPED: {message}");
        return Ok(());
    }
    let (first, moved) = (target().join("installed"), target().join("moved"));
    for dir in [&first, &moved] {
        remove(dir)?;
    }
    crate::abi::check()?;
    let installed = Installed::at(&first)?;
    installed.check()?;
    fs::rename(&first, &moved).map_err(|error| format!("{}: {error}", moved.display()))?;
    Installed { prefix: moved, ..installed }.check()
}

/// Writes the list of symbols that the library is held against.
pub(crate) fn write_symbols() -> Result<(), String> {
    let shared = release()?.join("libwtcache.so");
    let names: Vec<String> = shown(&shared)?.into_iter().collect();
    write(&root().join(SYMBOLS), &(names.join("\n") + "\n"))?;
    crate::abi::write_description()
}

fn supported() -> Result<(), String> {
    let here = cfg!(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")));
    if here { Ok(()) } else { Err("libwtcache is packaged for Linux with glibc on x86_64 and aarch64 only".to_owned()) }
}

/// Builds the libraries; gives their folder.
fn release() -> Result<PathBuf, String> {
    supported()?;
    run(cargo(&["build", "--release", "--package", "libwtcache"]))?;
    Ok(target().join("release"))
}

/// What was installed, and where.
struct Installed {
    prefix: PathBuf,
    native_libs: String,
}

impl Installed {
    fn at(prefix: &Path) -> Result<Self, String> {
        let built = release()?;
        let native_libs = native_libs()?;
        let (lib, include) = (prefix.join("lib"), prefix.join("include"));
        let cmake = lib.join("cmake/wtcache");
        for dir in [&lib.join("pkgconfig"), &cmake, &include] {
            fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
        put(&built.join("libwtcache.so"), &lib.join(soname()?))?;
        link(&soname()?, &lib.join("libwtcache.so"))?;
        put(&alone(&built.join("libwtcache.a"))?, &lib.join("libwtcache.a"))?;
        for header in headers()? {
            put(&header, &include.join(header.file_name().expect("a header has a name")))?;
        }
        let libs = native_libs.split_whitespace().map(|lib| lib.trim_start_matches("-l")).collect::<Vec<_>>().join(";");
        fill("wtcache.pc", &native_libs, &lib.join("pkgconfig"))?;
        fill("wtcache-config.cmake", &libs, &cmake)?;
        fill("wtcache-config-version.cmake", &libs, &cmake)?;
        println!("xtask: installed to {}", prefix.display());
        Ok(Self { prefix: prefix.to_owned(), native_libs })
    }

    fn lib(&self) -> PathBuf {
        self.prefix.join("lib")
    }

    fn check(&self) -> Result<(), String> {
        let committed = read(&root().join(SYMBOLS))?;
        let committed: BTreeSet<String> = committed.lines().map(str::to_owned).collect();
        for library in ["libwtcache.so", "libwtcache.a"] {
            let shown = shown(&self.lib().join(library))?;
            if shown != committed {
                let (new, gone) = (shown.difference(&committed), committed.difference(&shown));
                let (new, gone): (Vec<_>, Vec<_>) = (new.take(9).collect(), gone.take(9).collect());
                return Err(format!(
                    "{library} shows what is not in {SYMBOLS}: {new:?}, and not what is: {gone:?}. What programs were linked \
                     with may go only with a new WTCACHE_ABI_VERSION; `cargo xtask symbols` writes the list"
                ));
            }
        }
        let dir = target().join("install-check");
        remove(&dir)?;
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        self.by_hand(&dir)?;
        self.beside_another(&dir)?;
        if is_there("pkg-config")? {
            self.by_pkg_config(&dir)?;
        }
        if is_there("cmake")? {
            self.by_cmake(&dir)?;
        }
        Ok(())
    }

    fn by_hand(&self, dir: &Path) -> Result<(), String> {
        let include = format!("-I{}", self.prefix.join("include").display());
        let shared = [format!("-L{}", self.lib().display()), "-lwtcache".to_owned()];
        self.runs(&compiled("check.c", &dir.join("shared"), std::slice::from_ref(&include), &shared)?, true)?;
        self.runs(
            &compiled("check.c", &dir.join("static"), std::slice::from_ref(&include), &self.static_by_hand())?,
            false,
        )?;
        if !is_there("g++")? {
            return Ok(());
        }
        let mut gxx = Command::new("g++");
        let program = dir.join("cpp");
        gxx.args(["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]).arg(&include);
        gxx.arg(root().join("examples/cpp/inventory.cpp")).args(shared).arg("-o").arg(&program);
        run(gxx)?;
        self.runs(&program, true)
    }

    fn static_by_hand(&self) -> Vec<String> {
        let mut libs = vec![self.lib().join("libwtcache.a").display().to_string()];
        libs.extend(self.native_libs.split_whitespace().map(str::to_owned));
        libs
    }

    /// Two static libraries in Rust have one name for many things of the standard library's.
    fn beside_another(&self, dir: &Path) -> Result<(), String> {
        let other = dir.join("libbeside.a");
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition", "2024", "--crate-type", "staticlib", "-o"]).arg(&other).arg(part("check/beside.rs"));
        run(rustc)?;
        let include = format!("-I{}", self.prefix.join("include").display());
        let mut libs = vec![other.display().to_string()];
        libs.extend(self.static_by_hand());
        self.runs(&compiled("beside.c", &dir.join("beside"), &[include], &libs)?, false)
    }

    fn by_pkg_config(&self, dir: &Path) -> Result<(), String> {
        let asked = |args: &[&str]| {
            let mut command = Command::new("pkg-config");
            command.args(args).arg("wtcache").env("PKG_CONFIG_PATH", self.lib().join("pkgconfig"));
            // What stands in a variable of the program's own machine is not what is asked about.
            command.env_remove("PKG_CONFIG_LIBDIR").env_remove("PKG_CONFIG_SYSROOT_DIR");
            Ok::<_, String>(said(command)?.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let flags = asked(&["--cflags"])?;
        self.runs(&compiled("check.c", &dir.join("pkg-shared"), &flags, &asked(&["--libs"])?)?, true)?;
        let mut libs = asked(&["--static", "--libs"])?;
        let ours = libs.iter_mut().find(|lib| *lib == "-lwtcache").ok_or("pkg-config does not name the library")?;
        "-l:libwtcache.a".clone_into(ours);
        self.runs(&compiled("check.c", &dir.join("pkg-static"), &flags, &libs)?, false)
    }

    fn by_cmake(&self, dir: &Path) -> Result<(), String> {
        let build = dir.join("cmake");
        let mut configure = Command::new("cmake");
        configure.arg("-S").arg(part("check")).arg("-B").arg(&build);
        configure.arg(format!("-DCMAKE_PREFIX_PATH={}", self.prefix.display()));
        run(configure)?;
        let mut make = Command::new("cmake");
        make.arg("--build").arg(&build);
        run(make)?;
        // CMake has the program know where the library lies.
        self.runs(&build.join("check-wtcache"), false)?;
        self.runs(&build.join("check-static"), false)
    }

    /// Runs a program, with the way to the shared library or without.
    fn runs(&self, program: &Path, finds_library: bool) -> Result<(), String> {
        let mut command = Command::new(program);
        command.env_remove("LD_LIBRARY_PATH");
        if finds_library {
            command.env("LD_LIBRARY_PATH", self.lib());
        }
        run(command)
    }
}

/// The name that programs which were linked look for.
fn soname() -> Result<String, String> {
    Ok(format!("libwtcache.so.{}", abi()?))
}

fn abi() -> Result<String, String> {
    let text = read(&root().join("ffi/src/abi.rs"))?;
    let number = text.lines().find_map(|line| line.strip_prefix("pub const WTCACHE_ABI_VERSION: u32 = "));
    number.and_then(|line| line.strip_suffix(';')).map(str::to_owned).ok_or("ffi/src/abi.rs names no ABI".to_owned())
}

/// What a program links besides the static library, as the compiler says. It is the same however the library is optimised.
fn native_libs() -> Result<String, String> {
    let mut command = cargo(&["rustc", "--package", "libwtcache", "--crate-type", "staticlib", "--quiet"]);
    command.args(["--", "--print", "native-static-libs"]).env("CARGO_TERM_COLOR", "never");
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let libs = told.lines().find_map(|line| line.strip_prefix("note: native-static-libs: "));
    libs.map(|libs| libs.trim().to_owned()).ok_or_else(|| format!("{command:?}: names no libraries\n{told}"))
}

/// The static library with nothing but its own names in sight: else another one in Rust could not be linked beside it.
fn alone(archive: &Path) -> Result<PathBuf, String> {
    let dir = target().join("install-static");
    remove(&dir)?;
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let (object, alone) = (dir.join("wtcache.o"), dir.join("libwtcache.a"));
    let mut join = Command::new("ld");
    join.args(["-r", "--force-group-allocation", "--whole-archive"]).arg(archive).arg("-o").arg(&object);
    run(join)?;
    let mut hide = Command::new("objcopy");
    // The compiler's own intermediate code, put together, is none that any tool reads; some fail at it.
    hide.args([
        "--wildcard",
        "--keep-global-symbol=wtcache_*",
        "--remove-section=.llvmbc",
        "--remove-section=.llvmcmd",
    ]);
    hide.arg(&object);
    run(hide)?;
    let mut pack = Command::new("ar");
    pack.arg("crs").arg(&alone).arg(&object);
    run(pack)?;
    Ok(alone)
}

/// The names that a library shows to those who are linked with it.
fn shown(library: &Path) -> Result<BTreeSet<String>, String> {
    let mut nm = Command::new("nm");
    nm.args(["--defined-only", "--extern-only", "--format=posix"]);
    if library.extension().is_some_and(|suffix| suffix == "so") {
        nm.arg("--dynamic");
    }
    nm.arg(library);
    // A line of an archive's names the member, and ends with a colon.
    let names = said(nm)?;
    let names = names.lines().filter(|line| !line.ends_with(':')).filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

fn headers() -> Result<Vec<PathBuf>, String> {
    let dir = root().join("include");
    let entries = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut headers: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    headers.sort();
    Ok(headers)
}

fn part(name: &str) -> PathBuf {
    root().join("ffi/packaging").join(name)
}

/// Writes what a template says with its places filled.
fn fill(name: &str, native_libs: &str, dir: &Path) -> Result<(), String> {
    let version = env!("CARGO_PKG_VERSION");
    let major_minor = version.rsplit_once('.').map_or(version, |(start, _)| start);
    let text = read(&part(&format!("{name}.in")))?
        .replace("@VERSION@", version)
        .replace("@MAJOR_MINOR@", major_minor)
        .replace("@ABI@", &abi()?)
        .replace("@NATIVE_LIBS@", native_libs);
    write(&dir.join(name), &text)
}

/// Compiles a program of the check.
fn compiled(source: &str, program: &Path, flags: &[String], libs: &[String]) -> Result<PathBuf, String> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]).args(flags);
    gcc.arg(part("check").join(source)).args(libs).arg("-o").arg(program);
    run(gcc)?;
    Ok(program.to_owned())
}

/// Whether a tool is there that only some machines have. Where all must be checked, it is.
pub(crate) fn is_there(tool: &str) -> Result<bool, String> {
    if Command::new(tool).arg("--version").output().is_ok() {
        return Ok(true);
    }
    if std::env::var_os("WTCACHE_CI").is_some() {
        return Err(format!("{tool} is missing, and WTCACHE_CI is set: nothing may be skipped"));
    }
    println!("SKIPPED: {tool} is not installed");
    Ok(false)
}

/// What a command prints.
fn said(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Copies in one step, so that a program which runs with the old file keeps that.
fn put(from: &Path, to: &Path) -> Result<(), String> {
    let beside = to.with_extension("new");
    fs::copy(from, &beside).map_err(|error| format!("{}: {error}", from.display()))?;
    fs::rename(&beside, to).map_err(|error| format!("{}: {error}", to.display()))
}

fn link(name: &str, at: &Path) -> Result<(), String> {
    let beside = at.with_extension("new");
    let _ = fs::remove_file(&beside);
    #[cfg(unix)]
    std::os::unix::fs::symlink(name, &beside).map_err(|error| format!("{}: {error}", beside.display()))?;
    fs::rename(&beside, at).map_err(|error| format!("{name}, {}: {error}", at.display()))
}

pub(crate) fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

pub(crate) fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn remove(dir: &Path) -> Result<(), String> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", dir.display())),
        _ => Ok(()),
    }
}
