package import ObjectStore
internal import Synchronization
package import ThawCore

/// The content of one version of one object, for as long as somebody has it open. Every GET says `If-Match`, so a
/// replaced object fails with `preconditionFailed` and its bytes never mix with these.
package final class FileContent: Sendable {
    package let key: ObjectKey
    package let etag: String
    package let sizeBytes: UInt64
    /// Nil for the object as it is.
    package let version: String?
    private let cache: ContentCache
    private let state = Mutex<State>(State())
    private let cached = Mutex<CachedObject?>(nil)

    fileprivate struct State {
        /// Sorted by offset, never overlapping.
        var parts: [Part] = []
        /// Parts that are being fetched; the task is nil until it has been made.
        var transfers: [ObjectIdentifier: Task<Void, Never>?] = [:]
        var waiters: [UInt64: Waiter] = [:]
        var nextWaiter: UInt64 = 0
        var isClosed = false
    }

    fileprivate struct Waiter {
        let part: Part
        let end: UInt64
        let continuation: CheckedContinuation<StoreError?, Never>
    }

    /// A part that a reader far from any other starts with: enough for a header, small enough for random reads.
    private static let partBytesMin = Blocks.blockBytes
    static let partBytesMax: UInt64 = 4 << 20

    init(cache: ContentCache, key: ObjectKey, version: String?, etag: String, sizeBytes: UInt64) {
        self.cache = cache
        self.key = key
        self.version = version
        self.etag = etag
        self.sizeBytes = sizeBytes
    }

    /// The bytes of this range, if they are all here; and, either way, fetches up to `ahead` bytes after it. Never
    /// waits. The range must end at or before `sizeBytes`.
    package func bytesAtHand(_ range: Range<UInt64>, ahead: UInt64) -> PinnedBytes? {
        let parts = partsFetching(range, ahead: ahead)
        guard parts.allSatisfy({ min($0.range.upperBound, range.upperBound) <= $0.filledEnd }) else { return nil }
        return pin(parts, range)
    }

    /// The bytes of this range, fetched if need be. Cancelling the task ends the wait, not the fetch, which others
    /// may share.
    package func bytes(_ range: Range<UInt64>, ahead: UInt64) async throws(StoreError) -> PinnedBytes {
        let parts = partsFetching(range, ahead: ahead)
        for part in parts {
            try await wait(for: part, through: min(part.range.upperBound, range.upperBound))
        }
        return pin(parts, range)
    }

    /// The same, if all of it is in memory or on disk: nothing is fetched.
    package func bytesWithoutFetching(_ range: Range<UInt64>) async -> PinnedBytes? {
        if let bytes = bytesInMemory(range) { return bytes }
        let whole = Blocks.aligned(down: range.lowerBound)..<min(Blocks.aligned(up: range.upperBound), sizeBytes)
        guard let blocks = cache.blocks, let object = await cachedObject(), object.has(whole) else { return nil }
        let part = Part(range: whole, file: self, isExpected: false, buffers: cache.buffers)
        return await blocks.fill(part, of: object) ? pin([part], range) : nil
    }

    private func bytesInMemory(_ range: Range<UInt64>) -> PinnedBytes? {
        let parts = state.withLock { state in
            var parts: [Part] = []
            var index = Self.firstPart(endingAfter: range.lowerBound, state.parts)
            var offset = range.lowerBound
            while offset < range.upperBound {
                guard index < state.parts.count, state.parts[index].range.lowerBound <= offset,
                    state.parts[index].filledEnd >= min(state.parts[index].range.upperBound, range.upperBound)
                else { return [Part]() }
                parts.append(state.parts[index])
                offset = state.parts[index].range.upperBound
                index += 1
            }
            return parts
        }
        return parts.isEmpty ? nil : pin(parts, range)
    }

    /// Fetches all of it, in one part, as far as there is memory to spare.
    func fetchAll() {
        var victims: [Part] = []
        let new = state.withLock { state -> Part? in
            guard sizeBytes > 0, state.parts.isEmpty else { return nil }
            let part = Part(range: 0..<sizeBytes, file: self, isExpected: true, buffers: cache.buffers)
            guard cache.admit(part, isNeeded: false, evicting: &victims) else { return nil }
            add(part, at: 0, &state)
            return part
        }
        for victim in victims { victim.file.evict(victim) }
        if let new { start(new) }
    }

    /// Nobody has the file open any more: transfers are aborted and the memory is free to go.
    package func close() {
        let (parts, transfers) = state.withLock { state in
            defer { state.parts = [] }
            state.isClosed = true
            return (state.parts, state.transfers.values.compactMap { $0 })
        }
        for transfer in transfers { transfer.cancel() }
        cache.remove(parts)
    }

    private func pin(_ parts: [Part], _ range: Range<UInt64>) -> PinnedBytes {
        let now = cache.tick()
        for part in parts {
            part.lastUse.store(now, ordering: .relaxed)
            // Who is in the midst of it comes for the rest.
            if range.upperBound >= part.range.upperBound { part.isExpected.store(false, ordering: .relaxed) }
        }
        return PinnedBytes(parts.map { ($0, range.clamped(to: $0.range)) })
    }

    // MARK: Parts

    /// The parts over `range`; those that were missing, there and in `ahead`, are being fetched when this returns.
    private func partsFetching(_ range: Range<UInt64>, ahead: UInt64) -> [Part] {
        var victims: [Part] = []
        let (needed, new) = state.withLock { cover(range, ahead: ahead, &$0, evicting: &victims) }
        for victim in victims { victim.file.evict(victim) }
        for part in new { start(part) }
        return needed
    }

    private func cover(
        _ range: Range<UInt64>, ahead: UInt64, _ state: inout State, evicting victims: inout [Part]
    ) -> (needed: [Part], new: [Part]) {
        let ahead = min(ahead, cache.aheadBytesShare)
        let aheadEnd = min(range.upperBound + ahead, sizeBytes)
        var needed: [Part] = []
        var new: [Part] = []
        var offset = range.lowerBound
        var index = Self.firstPart(endingAfter: offset, state.parts)
        while offset < aheadEnd {
            let isNeeded = offset < range.upperBound
            if index < state.parts.count, state.parts[index].range.lowerBound <= offset {
                if isNeeded { needed.append(state.parts[index]) }
            } else {
                let limit = index < state.parts.count ? state.parts[index].range.lowerBound : sizeBytes
                // Where blocks begin: the parts before end there, so this overlaps none of them.
                offset = Blocks.aligned(down: offset)
                let end = partEnd(from: offset, needed: range.upperBound, ahead: ahead, limit: limit)
                // What is only fetched ahead comes in whole parts, or a stream would decay into small GETs.
                if !isNeeded, end < limit, end > aheadEnd { break }
                let part = Part(range: offset..<end, file: self, isExpected: !isNeeded, buffers: cache.buffers)
                guard cache.admit(part, isNeeded: isNeeded, evicting: &victims) else { break }
                add(part, at: index, &state)
                new.append(part)
                if isNeeded { needed.append(part) }
            }
            offset = state.parts[index].range.upperBound
            index += 1
        }
        return (needed, new)
    }

    /// The part is found from now on, and its transfer, which `start` makes, is waited for.
    private func add(_ part: Part, at index: Int, _ state: inout State) {
        if state.transfers.isEmpty { cache.streams.add(1, ordering: .relaxed) }
        state.parts.insert(part, at: index)
        state.transfers.updateValue(nil, forKey: ObjectIdentifier(part))
    }

    private func partEnd(from offset: UInt64, needed: UInt64, ahead: UInt64, limit: UInt64) -> UInt64 {
        let wanted: UInt64
        if ahead == 0 {
            wanted = max(needed, offset + Self.partBytesMin)
        } else {
            wanted = offset + min(max(ahead / 4, 1 << 20), cache.partBytesMax)
        }
        return min(Blocks.aligned(up: wanted), limit)
    }

    private static func firstPart(endingAfter offset: UInt64, _ parts: [Part]) -> Int {
        var low = 0
        var high = parts.count
        while low < high {
            let middle = (low + high) / 2
            if parts[middle].range.upperBound <= offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Makes the part unfindable; readers that hold it still have it.
    func evict(_ part: Part) {
        state.withLock { state in
            if let index = state.parts.firstIndex(where: { $0 === part }) { state.parts.remove(at: index) }
        }
    }

    // MARK: Transfers

    private func start(_ part: Part) {
        let transfer = Task { await fetch(part) }
        let isStray = state.withLock { state in
            // It may have ended already: then there is nothing left to cancel.
            let isUnderWay = state.transfers.keys.contains(ObjectIdentifier(part))
            if isUnderWay { state.transfers.updateValue(transfer, forKey: ObjectIdentifier(part)) }
            return isUnderWay && state.isClosed
        }
        if isStray { transfer.cancel() }
    }

    private func fetch(_ part: Part) async {
        let cached = await cachedObject()
        if let cached, await cache.blocks?.fill(part, of: cached) == true { return end(part, nil) }
        let isStored: Bool
        let sink = cache.speed.begin(into: part)
        do throws(StoreError) {
            let record = try await cache.store.get(key, version: version, range: part.range, ifMatch: etag, into: sink)
            cache.speed.end()
            isStored = part.isComplete
            if isStored, let cached, let blocks = cache.blocks {
                let isRestored = record.restore != nil
                let isWorthIt = isRestored || !cache.speed.isFasterThanDisk
                // They are all kept: where they come faster than they can be written, the disk sets the pace.
                if isRestored { await blocks.waitForDisk(within: cache.aheadBytesMax) }
                // Parts beside each other end together: all that was on its way may wait for the disk.
                if isWorthIt, blocks.announce(part.range.count, isRestored: isRestored, within: cache.aheadBytesMax) {
                    part.isBeingKept.store(true, ordering: .relaxed)
                    end(part, nil)
                    await blocks.keep(part, of: cached, isRestored: isRestored)
                    part.isBeingKept.store(false, ordering: .relaxed)
                    return
                }
            }
        } catch {
            cache.speed.end()
            return end(part, error)
        }
        end(part, isStored ? nil : .init(.nonsense, code: "ShortBody", message: "fewer bytes than asked for"))
    }

    /// What of it is on disk.
    private func cachedObject() async -> CachedObject? {
        guard let blocks = cache.blocks else { return nil }
        if let known = cached.withLock({ $0 }) { return known }
        let found = await blocks.object(key, version: version, etag: etag, sizeBytes: sizeBytes)
        return cached.withLock { cached in
            if cached == nil { cached = found }
            return cached
        }
    }

    /// The transfer is over: who waits for the part is told.
    private func end(_ part: Part, _ failure: StoreError?) {
        let (waiters, isLast) = state.withLock { state in
            state.transfers.removeValue(forKey: ObjectIdentifier(part))
            part.fail(failure)
            if failure != nil, let index = state.parts.firstIndex(where: { $0 === part }) {
                state.parts.remove(at: index)
            }
            return (state.takeWaiters { $0.part === part }, state.transfers.isEmpty)
        }
        if isLast { cache.streams.subtract(1, ordering: .relaxed) }
        if failure != nil { cache.remove([part]) }
        for waiter in waiters { waiter.continuation.resume(returning: failure) }
    }

    /// Called by the part on the network thread; false once nobody wants the bytes.
    func partGrew(_ part: Part) -> Bool {
        let end = part.filledEnd
        let (waiters, isWanted) = state.withLock { state in
            (state.takeWaiters { $0.part === part && $0.end <= end }, !state.isClosed)
        }
        for waiter in waiters { waiter.continuation.resume(returning: nil) }
        return isWanted
    }

    private func wait(for part: Part, through end: UInt64) async throws(StoreError) {
        if part.filledEnd >= end { return }
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        let failure = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                enqueue(Waiter(part: part, end: end, continuation: continuation), id: id)
            }
        } onCancel: {
            let waiter = state.withLock { $0.waiters.removeValue(forKey: id) }
            waiter?.continuation.resume(returning: .cancelledRead)
        }
        if let failure { throw failure }
    }

    private func enqueue(_ waiter: Waiter, id: UInt64) {
        let isWaiting = state.withLock { state in
            let isComing = state.transfers.keys.contains(ObjectIdentifier(waiter.part))
            guard isComing, waiter.part.filledEnd < waiter.end, !Task.isCancelled else { return false }
            state.waiters[id] = waiter
            return true
        }
        if isWaiting { return }
        let failure = waiter.part.filledEnd >= waiter.end ? nil : waiter.part.failure ?? .cancelledRead
        waiter.continuation.resume(returning: failure)
    }
}

extension FileContent.State {
    fileprivate mutating func takeWaiters(_ isTaken: (FileContent.Waiter) -> Bool) -> [FileContent.Waiter] {
        guard !waiters.isEmpty else { return [] }
        var taken: [FileContent.Waiter] = []
        for (id, waiter) in waiters where isTaken(waiter) {
            taken.append(waiter)
            waiters[id] = nil
        }
        return taken
    }
}

extension StoreError {
    static let cancelledRead = StoreError(.cancelled, code: "Cancelled", message: "the read was given up")
}
