internal import Synchronization

/// A weak reference that may be set and read from any thread.
package final class WeakReference<Object: AnyObject & Sendable>: Sendable {
    private struct Slot: Sendable { weak var object: Object? }
    private let slot = Mutex(Slot())

    package init() {}

    package var value: Object? {
        get { slot.withLock { $0.object } }
        set { slot.withLock { $0.object = newValue } }
    }
}
