//! Scopes: key-values that every record of a thread has for a while, or every record that a future
//! logs. Runs on the caller's thread.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;

use log::kv::ToValue;

use crate::record::{KeyValueWriter, Pairs};

thread_local! {
    /// How many scopes the thread is in. No destructor, so that each log call finds it.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// The number of the next scope.
    static NEXT: Cell<u64> = const { Cell::new(0) };
    /// The scopes, the innermost last. Taken out while they are looked at, which runs no code of
    /// the program.
    static SCOPES: Cell<Vec<Entered>> = const { Cell::new(Vec::new()) };
}

struct Entered {
    number: u64,
    pairs: Pairs,
}

/// Adds key-values to every record that this thread logs until the guard is dropped.
///
/// The keys are the program's, the values whatever `log` takes as a value. Scopes nest: of one key
/// the value of the log call itself is written, else that of the innermost scope, else that of
/// [`Builder::context`](crate::Builder::context). Guards may be dropped in any order. The values
/// are turned into what a record holds here, once; what fits a record's slot (176 bytes)
/// allocates nothing.
///
/// A guard belongs to its thread: a thread that is started in the scope is not in it, and a guard
/// must not live across an `.await`. For a future there is [`Scope::future`]. Every logger of this
/// crate in the process writes them.
///
/// ```
/// use log::kv::Value;
///
/// let (logger, _handle) = unfazed::Builder::new().file("/dev/null").build()?;
/// let request_id = 4711;
/// let _request = unfazed::scope([("request_id", request_id)]);
/// let _user = unfazed::scope([("user", Value::from("ada")), ("admin", Value::from(true))]);
/// log::info!(logger: logger, "hello"); // request_id=4711 user=ada admin=true
/// # Ok::<(), unfazed::InitError>(())
/// ```
#[doc(alias = "mdc")]
#[doc(alias = "ThreadLocalDiagnostic")]
pub fn scope<V: ToValue, const N: usize>(pairs: [(&'static str, V); N]) -> Scope {
    let mut encoded = Pairs::new();
    for (key, value) in &pairs {
        encoded.push(key, value.to_value());
    }
    Scope { number: enter(encoded), of_its_thread: PhantomData }
}

/// Ends a scope of key-values when it is dropped. Made by [`scope`].
#[must_use = "a scope that is dropped at once adds nothing to any record"]
pub struct Scope {
    number: Option<u64>,
    /// The scope is this thread's.
    of_its_thread: PhantomData<*const ()>,
}

impl Scope {
    /// Makes a future whose records have the key-values of the scope, and leaves the scope on this
    /// thread.
    ///
    /// The scope is entered for each poll of the future and left after it, so it follows the future
    /// from thread to thread. What the future spawns is not in the scope. Allocates nothing for
    /// what fits a record's slot.
    ///
    /// ```
    /// async fn handle_request() {
    ///     log::info!("has its request_id");
    /// }
    ///
    /// async fn serve(request_id: u64) {
    ///     unfazed::scope([("request_id", request_id)]).future(handle_request()).await;
    /// }
    /// ```
    #[doc(alias = "instrument")]
    pub fn future<F: Future>(mut self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let mut pairs = self.number.take().and_then(leave);
        async move {
            let mut future = pin!(future);
            poll_fn(move |context| {
                let mut scope = Scope { number: pairs.take().and_then(enter), of_its_thread: PhantomData };
                let poll = future.as_mut().poll(context);
                pairs = scope.number.take().and_then(leave);
                poll
            })
            .await
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            leave(number);
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// Puts key-values on top of the thread's scopes. Returns their number; nothing at the very end of
/// a thread, which has no scopes any more.
fn enter(pairs: Pairs) -> Option<u64> {
    let number = NEXT.get();
    with_scopes(|scopes| scopes.push(Entered { number, pairs }))?;
    NEXT.set(number + 1);
    DEPTH.set(DEPTH.get() + 1);
    Some(number)
}

/// Takes the key-values with this number from the thread's scopes.
fn leave(number: u64) -> Option<Pairs> {
    let entered = with_scopes(|scopes| {
        let at = scopes.iter().rposition(|entered| entered.number == number)?;
        Some(scopes.remove(at))
    });
    let entered = entered.flatten()?;
    DEPTH.set(DEPTH.get() - 1);
    Some(entered.pairs)
}

fn with_scopes<T>(look: impl FnOnce(&mut Vec<Entered>) -> T) -> Option<T> {
    SCOPES
        .try_with(|cell| {
            let mut scopes = cell.take();
            let result = look(&mut scopes);
            cell.set(scopes);
            result
        })
        .ok()
}

/// Returns true if the thread is in a scope.
#[inline]
pub(super) fn is_inside() -> bool {
    DEPTH.get() > 0
}

/// Writes what the scopes of the thread have and nothing nearer has, from the innermost outwards.
pub(super) fn write(into: &mut KeyValueWriter<'_>) {
    with_scopes(|scopes| {
        for entered in scopes.iter().rev() {
            entered.pairs.write_missing(into);
        }
    });
}
