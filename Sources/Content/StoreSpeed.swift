internal import ObjectStore
internal import Synchronization
internal import ThawCore

/// How fast bytes have come lately, over all transfers together, and how long the first of them took.
final class StoreSpeed: Sendable {
    private struct State {
        var transfers = 0
        /// Since when at least one has been under way.
        var busySince = ContinuousClock.now
        var busy = Duration.zero
        var isFasterThanDisk = false
        /// What a first byte takes, of transfers that began beside no other: beside others it waits for their bytes
        /// too, and says nothing of the way to the store. Weighted to the last few.
        var latency = Duration.zero
    }

    private let state = Mutex(State())
    /// Bytes that have come since the rate was told last. Counted as they come: transfers beside each other end
    /// together, and all their bytes would seem to have come at once.
    private let arrived = Atomic<Int>(0)

    /// What is as fast as this is not worth a place on a disk of this machine.
    private static let diskBytesPerSecond = 256 << 20
    /// Over less it tells nothing.
    private static let sampleDuration = Duration.milliseconds(50)
    /// From here on the wait for the first byte counts beside that for the others.
    private static let farAway = Duration.milliseconds(8)

    /// What the store gives is got sooner than from a disk.
    var isFasterThanDisk: Bool { state.withLock { $0.isFasterThanDisk } }
    /// Waiting for the first byte takes long.
    var isFarAway: Bool { state.withLock { $0.latency > Self.farAway } }

    /// A transfer begins, whose bytes are to go through this; it ends with `end`.
    func begin(into sink: any ByteSink) -> MeasuredSink {
        let now = ContinuousClock.now
        let isAlone = state.withLock { state in
            let isAlone = state.transfers == 0
            if isAlone { state.busySince = now }
            state.transfers += 1
            return isAlone
        }
        return MeasuredSink(sink, self, isAlone: isAlone, begunAt: now)
    }

    func end() {
        let now = ContinuousClock.now
        state.withLock { state in
            state.transfers -= 1
            state.busy += now - state.busySince
            state.busySince = now
            guard state.busy >= Self.sampleDuration else { return }
            let bytes = arrived.exchange(0, ordering: .relaxed)
            defer { state.busy = .zero }
            // That nothing came is an outage's doing.
            guard bytes > 0 else { return }
            let perSecond = Double(bytes) / state.busy.secondsRounded
            state.isFasterThanDisk = perSecond > Double(Self.diskBytesPerSecond)
        }
    }

    fileprivate func firstByte(after latency: Duration) {
        state.withLock { $0.latency = $0.latency == .zero ? latency : ($0.latency * 3 + latency) / 4 }
    }

    fileprivate func received(_ bytes: Int) { arrived.add(bytes, ordering: .relaxed) }
}

/// Where one transfer's bytes pass by on their way.
final class MeasuredSink: ByteSink {
    private let sink: any ByteSink
    private let speed: StoreSpeed
    private let isAlone: Bool
    private let begunAt: ContinuousClock.Instant
    private let hasBytes = Atomic(false)

    fileprivate init(_ sink: any ByteSink, _ speed: StoreSpeed, isAlone: Bool, begunAt: ContinuousClock.Instant) {
        self.sink = sink
        self.speed = speed
        self.isAlone = isAlone
        self.begunAt = begunAt
    }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if isAlone, !hasBytes.exchange(true, ordering: .relaxed) { speed.firstByte(after: .now - begunAt) }
        speed.received(bytes.count)
        return sink.receive(bytes)
    }
}
