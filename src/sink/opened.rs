//! The sink of a path or of a stream of the process: what is there when it is opened, a regular
//! file or a stream, decides which sink does the work. Runs on the writer's thread.

use std::time::Duration;

use crate::disk::Disk;

use super::file::{FileSink, Target};
use super::log_file::FileOptions;
use super::stream::StreamSink;
use super::{Batch, Command, Health, News, Now, OutputSink, WriteError};

/// A regular file, or a stream while one is open.
pub(crate) struct OpenedSink<D: Disk> {
    file: FileSink<D>,
    stream: Option<StreamSink<D::Stream>>,
    /// The last stream ended in the middle of a line.
    torn: bool,
    /// What happened when the stream was found.
    news: Vec<News>,
}

impl<D: Disk> OpenedSink<D> {
    pub(crate) fn new(disk: D, target: Target, options: FileOptions) -> Self {
        Self { file: FileSink::new(disk, target, options), stream: None, torn: false, news: Vec::new() }
    }

    /// Takes over the stream that the file sink has found, if there is one. Then `result` is no
    /// error.
    fn take_over<T: Default>(&mut self, result: Result<T, WriteError>) -> Result<T, WriteError> {
        match self.file.take_stream() {
            Some(stream) => {
                self.stream = Some(StreamSink::new(stream, std::mem::take(&mut self.torn)));
                self.news.extend(result.err().into_iter().flat_map(|error| error.news));
                Ok(T::default())
            }
            None => result,
        }
    }

    /// Asks the stream, if one is open. A broken one is closed.
    fn ask_stream(
        &mut self,
        what: impl FnOnce(&mut StreamSink<D::Stream>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let result = self.stream.as_mut().map_or(Ok(()), what);
        if result.as_ref().is_err_and(|error| error.lag.is_none()) {
            self.close_stream();
        }
        result
    }

    /// Opens again what a stream was opened from, and closes the stream only then, so that the
    /// reader of a FIFO does not see its end. If nothing can be opened, as by a program that has
    /// dropped its rights, it goes on with the stream and reports that.
    fn open_again(&mut self, stream: StreamSink<D::Stream>, now: Now) {
        self.torn = stream.is_torn();
        let opened = self.file.command(Command::Reopen, now);
        if let Err(error) = self.take_over(opened) {
            self.news.extend(error.news);
            self.stream = Some(stream);
        }
    }

    fn close_stream(&mut self) {
        self.torn = self.stream.take().is_some_and(|stream| stream.is_torn());
    }
}

impl<D: Disk> OutputSink for OpenedSink<D> {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        let mut written = 0;
        if self.stream.is_none() {
            let result = self.file.write(batch);
            written = result.as_ref().map_or_else(WriteError::written, |()| batch.len());
            self.take_over(result)?;
        }
        self.ask_stream(|stream| stream.write(&batch.after(written))).map_err(|error| {
            let written = written + error.written();
            error.after(written)
        })
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        match self.stream {
            Some(_) => self.ask_stream(|stream| stream.finish_line().map(drop)),
            None => self.file.flush(),
        }
    }

    fn retry(&mut self, now: Now) -> Result<(), WriteError> {
        if self.stream.is_none() {
            let result = self.file.retry(now);
            self.take_over(result)?;
        }
        self.stream.as_mut().map_or(Ok(()), StreamSink::retry)
    }

    fn has_recovered(&self) -> bool {
        self.stream.is_none() && self.file.has_recovered()
    }

    fn check(&mut self, now: Now) -> Result<Health, WriteError> {
        if self.stream.is_none() {
            let result = self.file.check(now);
            return self.take_over(result);
        }
        Ok(Health { news: self.take_news(), ..Health::default() })
    }

    fn take_news(&mut self) -> Vec<News> {
        let mut news = std::mem::take(&mut self.news);
        news.extend(self.file.take_news());
        news
    }

    fn command(&mut self, command: Command, now: Now) -> Result<(), WriteError> {
        match (command, self.stream.take()) {
            (Command::Reopen, Some(stream)) => self.open_again(stream, now),
            (Command::Close, Some(_)) => {}
            (Command::Rotate, stream @ Some(_)) => self.stream = stream,
            (_, None) => {
                let result = self.file.command(command, now);
                return self.take_over(result);
            }
        }
        Ok(())
    }

    fn wait(&mut self, at_most: Duration) -> bool {
        self.stream.as_mut().is_some_and(|stream| stream.wait(at_most))
    }
}
