internal import Synchronization
internal import ThawCore

/// How fast bytes have come lately, over all transfers together, and how long the first of them took.
final class StoreSpeed: Sendable {
    private struct State {
        var transfers = 0
        /// Since when at least one has been under way.
        var busySince = ContinuousClock.now
        var bytes = 0
        var busy = Duration.zero
        var isFasterThanDisk = false
        /// The shortest wait for a first byte: of the last transfers, and of those since they were counted. The
        /// shortest, because most of the wait beside other transfers is for them, and says nothing of the way to the
        /// store.
        var shortest = Duration.zero
        var shortestSince = Duration.seconds(3600)
        var counted = 0

        mutating func note(_ firstByte: Duration) {
            shortestSince = min(shortestSince, firstByte)
            counted += 1
            guard counted == StoreSpeed.shortestOf else { return }
            (shortest, shortestSince, counted) = (shortestSince, .seconds(3600), 0)
        }
    }

    private let state = Mutex(State())

    private static let shortestOf = 16

    /// What is as fast as this is not worth a place on a disk of this machine.
    private static let diskBytesPerSecond = 256 << 20
    /// Over less it tells nothing: transfers beside each other end together, and all their bytes seem to come at once.
    private static let sampleDuration = Duration.milliseconds(50)
    /// From here on the wait for the first byte counts beside that for the others.
    private static let farAway = Duration.milliseconds(8)

    /// What the store gives is got sooner than from a disk.
    var isFasterThanDisk: Bool { state.withLock { $0.isFasterThanDisk } }
    /// Waiting for the first byte takes long.
    var isFarAway: Bool { state.withLock { min($0.shortest, $0.shortestSince) > Self.farAway } }

    /// A transfer begins; answers what `end` wants to know.
    func begin() -> ContinuousClock.Instant {
        let now = ContinuousClock.now
        state.withLock { state in
            if state.transfers == 0 { state.busySince = now }
            state.transfers += 1
        }
        return now
    }

    /// It has ended; without bytes, it tells nothing.
    func end(_ begun: ContinuousClock.Instant, bytes: Int, firstByteAt: ContinuousClock.Instant?) {
        let now = ContinuousClock.now
        state.withLock { state in
            state.transfers -= 1
            state.busy += now - state.busySince
            state.busySince = now
            state.bytes += bytes
            if let firstByteAt { state.note(firstByteAt - begun) }
            guard state.bytes > 0, state.busy >= Self.sampleDuration else { return }
            let perSecond = Double(state.bytes) / state.busy.secondsRounded
            state.isFasterThanDisk = perSecond > Double(Self.diskBytesPerSecond)
            (state.bytes, state.busy) = (0, .zero)
        }
    }
}
