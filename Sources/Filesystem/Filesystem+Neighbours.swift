internal import Content
internal import Logging
internal import Metadata
internal import ObjectStore
internal import Restore
internal import Synchronization
internal import ThawCore

extension Filesystem {
    /// A larger file is worth a round trip of its own.
    private static let neighbourBytesMax: UInt64 = 256 << 10
    /// How far apart two files may be listed, and still be read one after the other.
    private static let neighbourDistanceMax = 8

    /// Somebody begins to read a file: its neighbours may be next. Costs one lock; what there is to do is done besides.
    func noteReading(_ number: UInt64, _ file: FileHandle) {
        guard case .object(let content) = file.source, content.sizeBytes <= Self.neighbourBytesMax,
            !file.isFrozen.load(ordering: .relaxed), let inode = inodes[number], let home = inode.home,
            home.view == .objects
        else { return }
        let wish = home.progress.withLock { $0.neighbours.note(inode.segment) }
        guard let wish else { return }
        Task { await fetchNeighbours(wish, in: home) }
    }

    /// Fetches the small files that follow, as far as a listing that is fresh knows them, and none that is frozen.
    private func fetchNeighbours(_ wish: Neighbours.Wish, in directory: Directory) async {
        let rows = await neighbours(wish, in: directory)
        var fetched: [[UInt8]] = []
        let read = directory.progress.withLock { $0.neighbours.recent }
        for row in rows ?? [] {
            guard !read.contains(row.segment), case .object(let record) = row.kind, record.sizeBytes > 0,
                record.sizeBytes <= Self.neighbourBytesMax, !record.mayBeArchivedUnseen,
                context.state(of: record, at: .now()).isReadable, stagedFiles[directory.key(of: row.segment)] == nil
            else { continue }
            let key = directory.key(of: row.segment)
            let number = inodes.number(InodeNumber.of(row.segment, parent: directory.inode))
            let isAdmitted = contents.fetchAhead(key: key, etag: record.etag, sizeBytes: record.sizeBytes) {
                openFiles.hasContent(number)
            }
            guard isAdmitted else { break }
            fetched.append(row.segment)
        }
        let through = rows?.last?.segment ?? (rows == nil ? nil : wish.reached)
        directory.progress.withLock { $0.neighbours.granted(fetched, through: through) }
    }

    /// The rows after the one that was reached; nil where the reader does not go from one to the next, or where no
    /// listing tells.
    private func neighbours(_ wish: Neighbours.Wish, in directory: Directory) async -> [MetadataRow]? {
        do throws(MetadataError) {
            let state = try await reader.state(of: directory.prefix)
            guard isFresh(state.listedAt), state.listedAt == state.startedAt else { return nil }
            var rows = try await reader.page(
                below: directory.prefix, state: state, after: wish.previous,
                limit: wish.count + Self.neighbourDistanceMax)
            if wish.previous != wish.reached {
                let near = rows.prefix(Self.neighbourDistanceMax)
                guard let index = near.firstIndex(where: { $0.segment == wish.reached }) else { return nil }
                rows.removeFirst(index + 1)
            }
            return Array(rows.prefix(wish.count))
        } catch {
            log.debug("nothing is fetched ahead in \(directory.prefix): \(error)")
            return nil
        }
    }
}
