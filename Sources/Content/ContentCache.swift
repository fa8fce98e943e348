package import ObjectStore
internal import Synchronization
package import ThawCore

/// The bytes of open files, in memory and within a limit: what was read last stays, the rest makes room.
///
/// Locks: each file has its own, the cache has one for its list of parts. A file may take the cache's lock inside its
/// own, never the other way round, and never that of another file.
package final class ContentCache: Sendable {
    let store: any ObjectStore
    let bytesMax: Int
    let buffers = BufferPool(sizeBytes: Int(FileContent.partBytesMax), idleMax: 4)
    private let parts = Mutex<Resident>(Resident())
    private let clock = Atomic<UInt64>(1)

    private struct Resident {
        var parts: [Part] = []
        var bytes = 0
    }

    /// `bytesMax` bounds the memory of all parts together, in bytes.
    package init(store: any ObjectStore, bytesMax: Int) {
        self.store = store
        self.bytesMax = bytesMax
    }

    /// The content of one version of an object; the readers of one version share it.
    package func content(key: ObjectKey, version: String?, etag: String, sizeBytes: UInt64) -> FileContent {
        FileContent(cache: self, key: key, version: version, etag: etag, sizeBytes: sizeBytes)
    }

    /// How far ahead of one reader to fetch at the most: a quarter of the memory, so that four can stream at once.
    package var aheadBytesMax: Int { min(32 << 20, bytesMax / 4) }

    func tick() -> UInt64 { clock.wrappingAdd(1, ordering: .relaxed).newValue }

    /// Counts the part in, and counts out the complete parts that were used longest ago as far as it takes. The
    /// caller evicts those from their files once it holds no lock. Not admitted when even that leaves too little room,
    /// unless `isNeeded`: only what a reader waits for may go over the limit, by what it waits for.
    func admit(_ part: Part, isNeeded: Bool, evicting victims: inout [Part]) -> Bool {
        parts.withLock { resident in
            while resident.bytes + part.range.count > bytesMax {
                guard let index = Self.oldestComplete(resident.parts) else {
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

    private static func oldestComplete(_ parts: [Part]) -> Int? {
        var oldest: (index: Int, use: UInt64)?
        for (index, part) in parts.enumerated() where part.isComplete {
            let use = part.lastUse.load(ordering: .relaxed)
            if oldest.map({ use < $0.use }) ?? true { oldest = (index, use) }
        }
        return oldest?.index
    }

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
