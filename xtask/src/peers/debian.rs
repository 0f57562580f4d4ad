//! Debian packages, downloaded and unpacked but never installed.
//!
//! A program gets the libraries that the system lacks by a script in `bin` that names their folders to the loader.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shelf::{Proof, Shelf, need};
use crate::{Outcome, process};

pub(super) fn mosquitto(shelf: &Shelf) -> Outcome {
    let proofs = [
        Proof { program: "mosquitto", arguments: &["-h"], says: "mosquitto version" },
        Proof { program: "mosquitto_passwd", arguments: &["-h"], says: "mosquitto_passwd" },
        Proof { program: "mosquitto_pub", arguments: &["--help"], says: "mosquitto_pub version" },
        Proof { program: "mosquitto_sub", arguments: &["--help"], says: "mosquitto_sub version" },
    ];
    bring_programs(shelf, "mosquitto", &["mosquitto", "mosquitto-clients"], &proofs)
}

/// What plugins of mosquitto are built with: its headers and those of OpenSSL, and the system's C compiler.
pub(super) fn mosquitto_dev(shelf: &Shelf) -> Outcome {
    let arguments =
        &["-E", "-include", "mosquitto_plugin.h", "-include", "openssl/hmac.h", "-x", "c", "/dev/null"];
    let proof = Proof { program: "mosquitto-cc", arguments, says: "mosquitto_plugin_init" };
    shelf.bring_once("mosquitto-dev", &release(), &[proof], || {
        need("cc", "gcc and libc6-dev")?;
        unpack(shelf, "mosquitto-dev", &["mosquitto-dev", "libmosquitto-dev", "libssl-dev"])?;
        let lines = "include=\"$peers/debian/mosquitto-dev/usr/include\"\n\
                     machine=$(cc -print-multiarch 2>/dev/null || true)\n\
                     exec cc -I\"$include\" ${machine:+\"-I$include/$machine\"} \"$@\"";
        shelf.write_program("mosquitto-cc", lines)
    })
}

pub(super) fn openssl(shelf: &Shelf) -> Outcome {
    let proof = Proof { program: "openssl", arguments: &["version"], says: "OpenSSL 3" };
    bring_programs(shelf, "openssl", &["openssl"], &[proof])
}

pub(super) fn tinyproxy(shelf: &Shelf) -> Outcome {
    let proof = Proof { program: "tinyproxy", arguments: &["-v"], says: "tinyproxy 1." };
    bring_programs(shelf, "tinyproxy", &["tinyproxy-bin"], &[proof])
}

pub(super) fn microsocks(shelf: &Shelf) -> Outcome {
    let proof = Proof { program: "microsocks", arguments: &["-?"], says: "SOCKS5" };
    bring_programs(shelf, "microsocks", &["microsocks"], &[proof])
}

pub(super) fn nats_server(shelf: &Shelf) -> Outcome {
    let proof = Proof { program: "nats-server", arguments: &["--version"], says: "nats-server: v" };
    bring_programs(shelf, "nats-server", &["nats-server"], &[proof])
}

/// What RabbitMQ is made of: itself, and the parts of Erlang that it needs.
const RABBITMQ_PACKAGES: &[&str] = &[
    "rabbitmq-server",
    "erlang-asn1",
    "erlang-base",
    "erlang-crypto",
    "erlang-eldap",
    "erlang-ftp",
    "erlang-inets",
    "erlang-mnesia",
    "erlang-os-mon",
    "erlang-parsetools",
    "erlang-public-key",
    "erlang-runtime-tools",
    "erlang-ssl",
    "erlang-syntax-tools",
    "erlang-tftp",
    "erlang-tools",
    "erlang-xmerl",
];

/// Erlang's own start script knows only the place where the package would be installed; so does RabbitMQ's.
pub(super) fn rabbitmq(shelf: &Shelf) -> Outcome {
    let arguments =
        &["-noshell", "-eval", "io:format(\"erlang ~s~n\", [erlang:system_info(otp_release)]), halt()."];
    let proof = Proof { program: "erl", arguments, says: "erlang 2" };
    shelf.bring_once("rabbitmq", &release(), &[proof], || {
        unpack(shelf, "rabbitmq", RABBITMQ_PACKAGES)?;
        let erlang = "ROOTDIR=\"$peers/debian/rabbitmq/usr/lib/erlang\"\nBINDIR=$(echo \"$ROOTDIR\"/erts-*/bin)\n\
                      EMU=beam PROGNAME=erl\nexport ROOTDIR BINDIR EMU PROGNAME";
        shelf.write_program("erl", &format!("{erlang}\nexec \"$BINDIR/erlexec\" \"$@\""))?;
        shelf.write_program("epmd", &format!("{erlang}\nexec \"$BINDIR/epmd\" \"$@\""))?;
        let home = "RABBITMQ_HOME=$(echo \"$peers\"/debian/rabbitmq/usr/lib/rabbitmq/lib/rabbitmq_server-*)";
        // As under systemd, the script becomes the server instead of watching over it.
        let rest = "RABBITMQ_CONF_ENV_FILE=/dev/null RUNNING_UNDER_SYSTEMD=1 PATH=\"$peers/bin:$PATH\"\n\
                    export RABBITMQ_HOME RABBITMQ_CONF_ENV_FILE RUNNING_UNDER_SYSTEMD PATH\n\
                    exec \"$peers/debian/rabbitmq/usr/lib/rabbitmq/bin/rabbitmq-server\" \"$@\"";
        shelf.write_program("rabbitmq-server", &format!("{home}\n{rest}"))
    })
}

/// ActiveMQ in its own words: the broker's libraries and the codec of MQTT, run by the Java that is here. Its start script
/// would make it a service with a configuration of Spring's. Libraries that are installed here are not brought again.
pub(super) fn activemq(shelf: &Shelf) -> Outcome {
    let proof = Proof { program: "activemq", arguments: &["--version"], says: "ActiveMQ 5" };
    shelf.bring_once("activemq", &release(), &[proof], || {
        need("java", "default-jre-headless")?;
        unpack(shelf, "activemq", &["libactivemq-java", "libmqtt-client-java"])?;
        shelf.write_program(
            "activemq",
            "home=${ACTIVEMQ_HOME:-$peers/debian/activemq}\n\
             exec java -Xmx256m -XX:TieredStopAtLevel=1 -Dactivemq.home=\"$home\" -Dactivemq.base=\"$home\" \\\n  \
             -cp \"$peers/debian/activemq/usr/share/java/*:/usr/share/java/*\" org.apache.activemq.console.Main \"$@\"",
        )
    })
}

/// Unpacks the pip that new virtual environments get, and returns the wheel.
pub(super) fn pip_wheel(shelf: &Shelf) -> Outcome<PathBuf> {
    let folder = unpack(shelf, "pip", &["python3-pip-whl"])?;
    let is_pip =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pip-"));
    let wheels = fs::read_dir(folder.join("usr/share/python-wheels"))?;
    let wheel = wheels.filter_map(|entry| Some(entry.ok()?.path())).find(is_pip);
    wheel.ok_or_else(|| "the package python3-pip-whl holds no pip".into())
}

/// Brings packages and writes into `bin` each program that has a proof.
fn bring_programs(shelf: &Shelf, name: &str, packages: &[&str], proofs: &[Proof]) -> Outcome {
    shelf.bring_once(name, &release(), proofs, || {
        let folder = unpack(shelf, name, packages)?;
        let inside = |path: &str| format!("$peers/debian/{name}/{path}");
        let libraries: Vec<String> =
            library_folders(&folder, &folder)?.iter().map(|library| inside(library)).collect();
        for Proof { program, .. } in proofs {
            let places = ["usr/bin", "usr/sbin"].map(|place| format!("{place}/{program}"));
            let place = places.iter().find(|place| folder.join(place).is_file());
            let place = place.ok_or_else(|| format!("the package holds no `{program}`"))?;
            let path =
                format!("LD_LIBRARY_PATH=\"{}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"", libraries.join(":"));
            let run = format!("exec \"{}\" \"$@\"", inside(place));
            shelf
                .write_program(program, &if libraries.is_empty() { run } else { format!("{path} {run}") })?;
        }
        Ok(())
    })
}

/// Returns what tells one release from another: what was unpacked on one does not have to run on the next.
fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let told =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?").trim_matches('"');
    format!("{} {}", told("ID="), told("VERSION_ID="))
}

/// Downloads packages with the libraries they need and unpacks them into `debian/NAME`.
fn unpack(shelf: &Shelf, name: &str, packages: &[&str]) -> Outcome<PathBuf> {
    need("apt-get", "apt")?;
    need("dpkg", "dpkg")?;
    let folder = shelf.fresh_folder(&format!("debian/{name}"))?;
    let archives = shelf.fresh_folder(&format!("debian/{name}.archives"))?;
    let system = Apt { private: None };
    let fetched = system.fetch(packages, &archives).or_else(|_| {
        // The lists of the system are missing or older than the archive: read them anew, for us alone.
        let apt = Apt { private: Some(shelf.folder().join("apt")) };
        apt.update().and_then(|()| apt.fetch(packages, &archives))
    });
    fetched?;
    for entry in fs::read_dir(&archives)? {
        process::read(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(&folder))?;
    }
    fs::remove_dir_all(&archives)?;
    Ok(folder)
}

/// Debian's package tools, reading the lists of the system or our own.
struct Apt {
    private: Option<PathBuf>,
}

impl Apt {
    fn update(&self) -> Outcome {
        if let Some(folder) = &self.private {
            for part in ["state/lists/partial", "cache/archives/partial"] {
                fs::create_dir_all(folder.join(part))?;
            }
        }
        process::read(&mut self.command("apt-get", &["update", "--quiet"])).map(|_| ())
    }

    /// Downloads packages and the libraries they need into a folder.
    fn fetch(&self, packages: &[&str], archives: &Path) -> Outcome {
        let mut download = self.command("apt-get", &["download", "--quiet"]);
        download.args(self.closure(packages)?).current_dir(archives);
        process::read(&mut download).map(|_| ())
    }

    /// Returns packages together with the libraries that they need, directly or not, and the system lacks.
    fn closure(&self, packages: &[&str]) -> Outcome<BTreeSet<String>> {
        let installed = installed()?;
        let mut closure = BTreeSet::new();
        let mut front: BTreeSet<String> = packages.iter().map(|name| (*name).to_owned()).collect();
        while !front.is_empty() {
            let mut ask = self.command("apt-cache", &["depends", "--no-recommends", "--no-suggests"]);
            let needed = libraries(&process::read(ask.args(&front))?, &installed);
            closure.append(&mut front);
            front = needed.difference(&closure).cloned().collect();
        }
        Ok(closure)
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["-o", "APT::Sandbox::User=root"]).env("LC_ALL", "C");
        if let Some(folder) = &self.private {
            for (option, place) in [("State", "state"), ("State::Lists", "state/lists"), ("Cache", "cache")] {
                command.arg("-o").arg(format!("Dir::{option}={}/", folder.join(place).display()));
            }
            command.args(["-o", "Dir::State::status=/var/lib/dpkg/status"]);
        }
        command.args(words);
        command
    }
}

fn installed() -> Outcome<BTreeSet<String>> {
    let text =
        process::read(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Abbrev} ${Package}\\n"]))?;
    let names = text.lines().filter_map(|line| line.strip_prefix("ii ")).map(|name| name.trim().to_owned());
    Ok(names.collect())
}

/// Reads what `apt-cache depends` writes: of each group of alternatives the first, unless one of them is installed.
fn libraries(text: &str, installed: &BTreeSet<String>) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    let mut group: Vec<&str> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let (line, is_continued) = line.strip_prefix('|').map_or((line, false), |line| (line, true));
        let Some(name) = line.strip_prefix("Depends: ").or_else(|| line.strip_prefix("PreDepends: ")) else {
            continue;
        };
        group.push(name);
        if is_continued {
            continue;
        }
        let is_met = group.iter().any(|name| installed.contains(*name));
        let library = group.iter().find(|name| name.starts_with("lib"));
        if let (false, Some(library)) = (is_met, library) {
            needed.insert((*library).to_owned());
        }
        group.clear();
    }
    needed
}

/// Returns the folders below `folder` that hold shared libraries, as written from `root`.
fn library_folders(folder: &Path, root: &Path) -> Outcome<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_library = path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so."));
        if path.is_dir() && !path.is_symlink() {
            found.append(&mut library_folders(&path, root)?);
        } else if is_library && let Ok(inside) = folder.strip_prefix(root) {
            found.insert(inside.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_alternatives_the_first_is_needed_unless_one_is_installed() {
        let text = "mosquitto\n  PreDepends: init-system-helpers\n  Depends: libc6\n |Depends: liba1\n  Depends: liba2\n \
                    |Depends: libb1\n  Depends: libb2\n  Depends: <libvirtual>\n  Depends: adduser\n";
        let installed = ["libc6", "libb2"].map(str::to_owned).into();
        assert_eq!(libraries(text, &installed), ["liba1".to_owned()].into());
    }
}
