import Content
import Glibc
import Logging
import ThawCore
import Upload

/// Where what was read is kept: beside what is written and not yet stored.
struct BlockLocation {
    private let path: String

    init(beside area: StagingArea) { self.init(besideStaging: area.directory) }

    /// Where the last mount with this state directory kept it; nil when none did.
    init?(ofState path: String) {
        guard let staging = StagingLocation.current(in: path) else { return nil }
        self.init(besideStaging: staging)
    }

    init(besideStaging staging: String) {
        path = staging.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/blocks"
    }

    /// Opens the cache, made if there is none. A mount that cannot have one goes without.
    func open(_ limits: MountOptions.CacheLimits, _ log: Logger, area: StagingArea) async -> BlockCache? {
        guard limits.keepsReads else { return nil }
        do throws(BlockCacheFault) {
            let cache = try await BlockCache(
                directory: path,
                limits: .init(bytesMax: limits.sizeMaxBytes, keepFreeBytes: limits.keepFreeBytes),
                occupiedBytes: { area.usedBytes }, log: log)
            area.whenGrown { Task { await cache.trim(for: 0) } }
            return cache
        } catch {
            log.warning("nothing that is read is kept in \(path): \(error)")
            return nil
        }
    }

    /// For who has the state's lock, and no mount.
    func openUnmounted(_ log: Logger) async throws(BlockCacheFault) -> BlockCache? {
        guard access(path, F_OK) == 0 else { return nil }
        return try await BlockCache(
            directory: path, limits: .init(bytesMax: .max, keepFreeBytes: 0), log: log)
    }

    /// Removes a cache that no mount uses any more.
    func remove() { BlockCache.remove(path) }
}
