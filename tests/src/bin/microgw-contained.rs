//! Becomes another program, in namespaces of its own: see `microgw_tests::container`.
//!
//! ```text
//! pod UID GID           makes a network, says `ready`, and keeps it until its standard input ends
//! join PID SPEC         becomes what the file says, in the network of that pod
//! alone COMMAND...      becomes the command, in a network of its own
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use microgw_tests::container::{Mount, Root, Spec, User};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Uid, getegid, geteuid, pivot_root, setgid, setgroups, setuid};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let told = match arguments.iter().map(|argument| argument.to_str().unwrap_or_default()).collect::<Vec<_>>()[..] {
        ["pod", uid, gid] => pod(uid, gid),
        ["join", pid, file] => join(pid, Path::new(file)),
        ["alone", program, ref rest @ ..] => alone(program, rest),
        _ => Err(invalid("usage: pod UID GID | join PID SPEC | alone COMMAND...")),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("microgw-contained: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pod(uid: &str, gid: &str) -> io::Result<()> {
    let number = |text: &str| text.parse::<u32>().map_err(|_| invalid("UID and GID are numbers"));
    isolate(User { uid: number(uid)?, gid: number(gid)? })?;
    end_with_the_test()?;
    writeln!(io::stdout(), "ready")?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn alone(program: &str, arguments: &[&str]) -> io::Result<()> {
    isolate(User { uid: geteuid().as_raw(), gid: getegid().as_raw() })?;
    end_with_the_test()?;
    Err(Command::new(program).args(arguments).exec())
}

fn join(pid: &str, file: &Path) -> io::Result<()> {
    let spec: Spec = serde_json::from_str(&fs::read_to_string(file)?)?;
    let namespace = |name: &str| File::open(format!("/proc/{pid}/ns/{name}"));
    let network = namespace("net")?;
    if !geteuid().is_root() {
        setns(namespace("user")?, CloneFlags::CLONE_NEWUSER)?;
    }
    setns(network, CloneFlags::CLONE_NEWNET)?;
    if let Some(root) = &spec.root {
        enter(root)?;
    }
    std::env::set_current_dir(&spec.directory)?;
    if let Some(user) = spec.user
        && geteuid() != Uid::from_raw(user.uid)
    {
        setgroups(&[])?;
        setgid(Gid::from_raw(user.gid))?;
        setuid(Uid::from_raw(user.uid))?;
    }
    nix::sys::prctl::set_no_new_privs()?;
    end_with_the_test()?;
    let (program, arguments) = spec.command.split_first().ok_or_else(|| invalid("there is no command"))?;
    Err(Command::new(program).args(arguments).env_clear().envs(&spec.environment).exec())
}

/// A test that is killed leaves nothing running. To be called last: a change of user takes it back.
fn end_with_the_test() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?)
}

/// Leaves the machine's network for one with loopback alone. Whoever is not root has to become root of a namespace
/// first, in which they are called `user`.
fn isolate(user: User) -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    if !uid.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER)?;
        // Before the map of groups: without it that one may not be written.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{} {uid} 1", user.uid))?;
        fs::write("/proc/self/gid_map", format!("{} {gid} 1", user.gid))?;
    }
    unshare(CloneFlags::CLONE_NEWNET)?;
    loopback_up()
}

/// RTM_NEWLINK for the first interface, which is loopback: rtnetlink(7).
fn loopback_up() -> io::Result<()> {
    const LENGTH: u32 = 32;
    const NEW_LINK: u16 = 16;
    const REQUEST_AND_ACK: u16 = 5;
    const FIRST: i32 = 1;
    const UP: u32 = 1;
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]); // sequence number, sender
    message.extend([0; 4]); // family, padding, type
    message.extend(FIRST.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes()); // which flags are meant
    let route = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkRoute)?;
    socket::sendto(route.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 512];
    let read = socket::recv(route.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // A header of 16 bytes, then the error's number, negative; 0 is the ACK.
    match answer.get(16..20).filter(|_| read >= 20).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(invalid("the kernel's answer about loopback is too short")),
    }
}

/// Makes the directory `/`.
fn enter(root: &Root) -> io::Result<()> {
    const NOTHING: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Nothing that follows is to be seen outside.
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    mount(Some(&root.path), &root.path, NOTHING, MsFlags::MS_BIND, NOTHING)?;
    for Mount { source, target, read_only } in &root.mounts {
        let target = root.path.join(target.strip_prefix("/").map_err(|_| invalid("a target is not absolute"))?);
        match source {
            Some(source) => mount(Some(source), &target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)?,
            None => mount(Some("tmpfs"), &target, Some("tmpfs"), MsFlags::empty(), NOTHING)?,
        }
        if *read_only {
            make_read_only(&target)?;
        }
    }
    if root.read_only {
        make_read_only(&root.path)?;
    }
    // The old root comes to lie over the new one, and is taken away.
    std::env::set_current_dir(&root.path)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(())
}

fn make_read_only(path: &Path) -> io::Result<()> {
    // Flags that the mount has already may not be dropped.
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let has = statvfs(path)?.flags();
    let kept = kept.into_iter().filter(|(flag, _)| has.contains(*flag)).map(|(_, flag)| flag);
    let flags = kept.fold(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, |all, flag| all | flag);
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)?;
    Ok(())
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
