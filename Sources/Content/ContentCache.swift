package import ObjectStore
internal import Synchronization
package import ThawCore

/// The bytes of open files, in memory and within a limit: what was read last stays, the rest makes room. What makes
/// room there may still be on disk, in the block cache.
///
/// Locks: each file has its own, the cache has one for its list of parts. A file may take the cache's lock inside its
/// own, never the other way round, and never that of another file.
package final class ContentCache: Sendable {
    let store: any ObjectStore
    let bytesMax: Int
    /// Nil where nothing is kept on disk.
    package let blocks: BlockCache?
    let speed = StoreSpeed()
    /// Contents that are being fetched now: they share the memory that there is for reading ahead.
    let streams = Atomic<Int>(0)
    let buffers = BufferPool(idleBytesMax: 8 << 20)
    private let parts = Mutex<Resident>(Resident())
    private let clock = Atomic<UInt64>(1)
    private let expected = Mutex(ExpectedContents())

    private struct Resident {
        var parts: [Part] = []
        var bytes = 0
    }

    /// `bytesMax` bounds the memory of all parts together, in bytes.
    package init(store: any ObjectStore, bytesMax: Int, blocks: BlockCache? = nil) {
        self.store = store
        self.bytesMax = bytesMax
        self.blocks = blocks
    }

    /// The content of one version of an object, with what was fetched ahead of it. Its readers share it.
    package func content(key: ObjectKey, version: String?, etag: String, sizeBytes: UInt64) -> FileContent {
        if version == nil, let ahead = expected.withLock({ $0.take(key, etag, sizeBytes) }) { return ahead }
        return FileContent(cache: self, key: key, version: version, etag: etag, sizeBytes: sizeBytes)
    }

    /// Fetches a small object that will probably be opened next, unless somebody has. False when enough is on its way
    /// or waits for that.
    package func fetchAhead(key: ObjectKey, etag: String, sizeBytes: UInt64, unless isOpen: () -> Bool) -> Bool {
        let content = FileContent(cache: self, key: key, version: nil, etag: etag, sizeBytes: sizeBytes)
        let (isAdmitted, forgotten) = expected.withLock { $0.add(content, bytesMax: bytesMax / 4) }
        for content in forgotten { content.close() }
        guard isAdmitted else { return false }
        // Asked now: who opens it from here on finds it expected.
        if isOpen() {
            expected.withLock { $0.forget(content) }
        } else {
            content.fetchAll()
        }
        return true
    }

    /// How far ahead of one reader to fetch at the most, when nobody else reads.
    package var aheadBytesMax: Int { min(Self.aheadBytesMost, bytesMax * 7 / 8) }

    /// How far ahead to fetch now: most of the memory, shared by all who stream. The rest is for what they have just
    /// been given, and for those who read here and there. What waits for the disk makes no room.
    var aheadBytesShare: UInt64 {
        let waiting = blocks?.pendingBytes ?? 0
        return UInt64(max(min(aheadBytesMax, bytesMax - waiting), 0) / max(streams.load(ordering: .relaxed), 1))
    }

    private static let aheadBytesMost = 64 << 20

    /// What one GET of a stream asks for at the most. Where the first byte takes its time, many small ones at once
    /// bring more than few large ones in the same memory.
    var partBytesMax: UInt64 { speed.isFarAway ? FileContent.partBytesMax / 4 : FileContent.partBytesMax }

    func tick() -> UInt64 { clock.wrappingAdd(1, ordering: .relaxed).newValue }

    /// Counts the part in, and counts out the complete parts that were used longest ago as far as it takes. The
    /// caller evicts those from their files once it holds no lock. Not admitted when even that leaves too little room,
    /// unless `isNeeded`: only what a reader waits for may go over the limit, by what it waits for.
    func admit(_ part: Part, isNeeded: Bool, evicting victims: inout [Part]) -> Bool {
        parts.withLock { resident in
            while resident.bytes + part.range.count > bytesMax {
                guard let index = leastNeeded(resident.parts) else {
                    if isNeeded { break }
                    return false
                }
                let victim = resident.parts.remove(at: index)
                resident.bytes -= victim.range.count
                victims.append(victim)
            }
            // As if just read: what was fetched ahead must outlive what has been read already.
            part.lastUse.store(tick(), ordering: .relaxed)
            resident.parts.append(part)
            resident.bytes += part.range.count
            return true
        }
    }

    /// What was used longest ago. What is fetched ahead of a reader must outlive what he leaves behind, which may be on
    /// its way to the disk, and stays until so many others have read since that he does not seem to come.
    private func leastNeeded(_ parts: [Part]) -> Int? {
        let now = clock.load(ordering: .relaxed)
        var least: (index: Int, use: UInt64)?
        for (index, part) in parts.enumerated() where part.isComplete && !part.isBeingKept.load(ordering: .relaxed) {
            let use = part.lastUse.load(ordering: .relaxed)
            if part.isExpected.load(ordering: .relaxed), now &- use < Self.readsExpected { continue }
            if least.map({ use < $0.use }) ?? true { least = (index, use) }
        }
        return least?.index
    }

    private static let readsExpected: UInt64 = 2048

    func remove(_ gone: [Part]) {
        guard !gone.isEmpty else { return }
        parts.withLock { resident in
            for part in gone {
                guard let index = resident.parts.firstIndex(where: { $0 === part }) else { continue }
                resident.parts.remove(at: index)
                resident.bytes -= part.range.count
            }
        }
    }
}
