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
        /// What a first byte takes, of transfers that began beside no other: beside others it waits for their bytes
        /// too, and says nothing of the way to the store. Weighted to the last few.
        var latency = Duration.zero
    }

    /// A transfer under way.
    struct Sample {
        fileprivate let begun: ContinuousClock.Instant
        fileprivate let isAlone: Bool
    }

    private let state = Mutex(State())

    /// What is as fast as this is not worth a place on a disk of this machine.
    private static let diskBytesPerSecond = 256 << 20
    /// Over less it tells nothing: transfers beside each other end together, and all their bytes seem to come at once.
    private static let sampleDuration = Duration.milliseconds(50)
    /// From here on the wait for the first byte counts beside that for the others.
    private static let farAway = Duration.milliseconds(8)

    /// What the store gives is got sooner than from a disk.
    var isFasterThanDisk: Bool { state.withLock { $0.isFasterThanDisk } }
    /// Waiting for the first byte takes long.
    var isFarAway: Bool { state.withLock { $0.latency > Self.farAway } }

    /// A transfer begins; answers what `end` wants to know.
    func begin() -> Sample {
        let now = ContinuousClock.now
        return state.withLock { state in
            let isAlone = state.transfers == 0
            if isAlone { state.busySince = now }
            state.transfers += 1
            return Sample(begun: now, isAlone: isAlone)
        }
    }

    /// It has ended; without bytes, it tells nothing.
    func end(_ sample: Sample, bytes: Int, firstByteAt: ContinuousClock.Instant?) {
        let now = ContinuousClock.now
        state.withLock { state in
            state.transfers -= 1
            state.busy += now - state.busySince
            state.busySince = now
            state.bytes += bytes
            if sample.isAlone, let firstByteAt {
                let latency = firstByteAt - sample.begun
                state.latency = state.latency == .zero ? latency : (state.latency * 3 + latency) / 4
            }
            guard state.bytes > 0, state.busy >= Self.sampleDuration else { return }
            let perSecond = Double(state.bytes) / state.busy.secondsRounded
            state.isFasterThanDisk = perSecond > Double(Self.diskBytesPerSecond)
            (state.bytes, state.busy) = (0, .zero)
        }
    }
}
