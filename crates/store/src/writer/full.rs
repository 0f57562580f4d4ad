//! A full disk: giving the reserve back to it, and taking it again.

use super::committing::only_essential;
use super::{Writer, refuse};
use crate::disk::FileName;
use crate::error::Error;
use crate::shared::Pending;
use crate::store::State;

impl Writer {
    /// Frees what is consumed, with the reserve's help, and tries again: with all if that made room, else
    /// with what is essential.
    pub(super) fn commit_on_full_disk(&mut self, group: Vec<Pending>) {
        if let Err(error) = self.make_space() {
            return self.fail(group, error);
        }
        if !self.is_full {
            match self.try_commit(&group) {
                Ok(committed) => return self.answer(group, committed),
                Err(Error::Full) => {}
                Err(error) => return self.fail(group, error),
            }
            if let Err(error) = self.give_reserve() {
                return self.fail(group, error);
            }
        }
        let group = only_essential(group);
        match self.try_commit(&group) {
            Ok(committed) => self.answer(group, committed),
            Err(Error::Full) => refuse(group, &Error::Full),
            Err(error) => self.fail(group, error),
        }
    }

    fn make_space(&mut self) -> Result<(), Error> {
        self.give_reserve()?;
        match self.relieve() {
            Ok(()) | Err(Error::Full) => self.take_reserve(),
            Err(error) => Err(error),
        }
    }

    /// Allocates the reserve; the store is full as long as there is no room for it.
    pub(super) fn take_reserve(&mut self) -> Result<(), Error> {
        let file = FileName::Reserve;
        let taken = match self.options.reserve_bytes {
            0 => Ok(()),
            bytes => self.disk.0.allocate(file, bytes).map_err(|error| Error::io("allocating", file, error)),
        };
        self.stats.reserve_bytes = if taken.is_ok() { self.options.reserve_bytes } else { 0 };
        self.is_full = match taken {
            Ok(()) => false,
            Err(Error::Full) => {
                // What little it got is worth more to those who may write now.
                self.disk.0.create(file).map_err(|error| Error::failed("emptying", file, error))?;
                true
            }
            Err(error) => return Err(error),
        };
        self.shared.set_state(if self.is_full { State::Full } else { State::Open });
        Ok(())
    }

    fn give_reserve(&mut self) -> Result<(), Error> {
        self.is_full = true;
        self.stats.reserve_bytes = 0;
        self.shared.set_state(State::Full);
        let file = FileName::Reserve;
        if self.options.reserve_bytes == 0 {
            return Ok(());
        }
        self.disk.0.create(file).map_err(|error| Error::failed("emptying", file, error))
    }
}
