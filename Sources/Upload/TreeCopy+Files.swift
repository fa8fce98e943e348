internal import Logging
package import Metadata
internal import ObjectStore
package import ThawCore

/// A renamed file is a copy and a deletion. The journal names it for as long as that takes, so that a crash in between
/// does not leave the file under both names for good.
extension TreeCopy {
    /// Call it before the copy is made. Nil for a key that the journal would take for a tree.
    package func beginFile(_ source: ObjectKey, to target: ObjectKey) async throws(TreeCopyError) -> RenameRow? {
        guard source.bytes.last != UInt8(ascii: "/") else { return nil }
        return try await journalled { () async throws(MetadataError) in
            try await writer.beginRename(source, to: target, replacesMarker: false)
        }
    }

    /// It is done, or somebody was told that it failed.
    package func endFile(_ row: RenameRow?) async {
        guard let row else { return }
        do throws(TreeCopyError) { try await finish(row) } catch {
            log.warning("rename of \(row.source) to \(row.target): the journal still has it: \(error)")
        }
    }

    /// Finishes the renames of files that a crash cut short. Nobody was told that they failed, and a copy that had been
    /// asked for may still come. Call it before anybody can make new files under these names.
    package func resumeFiles() async {
        for row in writer.left.renames where !row.isTree {
            do throws(TreeCopyError) {
                let isDone = try await resumeFile(row)
                try await finish(row)
                let end = isDone ? "finished" : "not done: other objects are there now"
                log.notice("rename of \(row.source) to \(row.target), which an earlier mount began, is \(end)")
            } catch {
                log.error(
                    "rename of \(row.source) to \(row.target), which an earlier mount began, is not finished; the file may be under both names: \(error)")
            }
            await forget(row.source)
            await forget(row.target)
        }
    }

    private func resumeFile(_ row: RenameRow) async throws(TreeCopyError) -> Bool {
        let source: ObjectRecord
        do throws(StoreError) { source = try await store.head(row.source, version: nil) } catch {
            if error.kind == .noSuchKey { return true }
            throw TreeCopyError(row.source, error)
        }
        do throws(StoreError) {
            _ = try await store.head(row.target, version: nil)
        } catch {
            guard error.kind == .noSuchKey else { throw TreeCopyError(row.target, error) }
            return try await copyAndDelete(row, source)
        }
        // What is there may be what the rename was to replace, or somebody else's.
        guard try await isCopy(Pair(source: row.source, target: row.target)) else { return false }
        return try await delete(row.source, etag: source.etag)
    }

    private func copyAndDelete(_ row: RenameRow, _ record: ObjectRecord) async throws(TreeCopyError) -> Bool {
        do throws(StoreError) {
            _ = try await copyWhole(CopySource(key: row.source, etag: record.etag, record: record), to: row.target, nil)
        } catch {
            if error.kind == .noSuchKey || error.kind == .preconditionFailed { return false }
            throw TreeCopyError(row.source, error)
        }
        return try await delete(row.source, etag: record.etag)
    }

    private func delete(_ key: ObjectKey, etag: String) async throws(TreeCopyError) -> Bool {
        do throws(StoreError) {
            try await store.delete(key, version: nil, condition: .matches(etag: etag))
            return true
        } catch {
            switch error.kind {
            case .noSuchKey: return true
            case .preconditionFailed: return false
            default: throw TreeCopyError(key, error)
            }
        }
    }
}
