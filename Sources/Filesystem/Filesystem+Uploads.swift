internal import Logging
package import Metadata
internal import ObjectStore
internal import ThawCore
package import Upload

/// What was promised and is not in the store yet.
extension Filesystem {
    /// Takes up what an earlier mount has left: before the mount is seen, because its names must show what was
    /// accepted.
    package func resumeUploads() async throws(MetadataError) {
        let pending = try await reader.pendingUploads()
        try await resumeDeferred()
        staging.area.sweep(keeping: Set(pending.map(\.staging)))
        for upload in pending where upload.acceptedAt > .epoch {
            do throws(UploadError) {
                let file = try StagedFile.restore(upload, in: staging)
                stagedFiles.add(file)
                file.upload()
            } catch {
                log.critical("\(upload.key) was accepted, and its content in \(staging.area.directory)/\(upload.staging) cannot be read: \(error)")
            }
        }
        let kept = pending.filter { $0.acceptedAt == .epoch }
        if !kept.isEmpty {
            log.notice("kept for thawfs cache recover: \(kept.count) files that an earlier mount could not store")
        }
    }

    /// Goes on with the renames that an earlier mount has left half done, and cleans up in the bucket after it.
    package func resumeCleaning() async {
        await trees.resume()
        await deleteHiddenCopies()
        do throws(MetadataError) {
            for upload in writer.left.multiparts {
                do throws(StoreError) { try await store.abortUpload(upload) } catch {
                    log.warning("an upload of \(upload.key) that an earlier mount left was not aborted: \(error)")
                    continue
                }
                try await writer.drop(upload)
            }
        } catch {
            _ = failure("aborting uploads", .empty, error)
        }
    }

    /// What has been accepted and is not yet in the store, oldest first; and what is kept for `thawfs cache recover`.
    package func uploads() async -> [UploadSummary] {
        var summaries = stagedFiles.all.filter(\.isAccepted).map(\.summary)
        do throws(MetadataError) {
            for kept in try await reader.pendingUploads() where kept.acceptedAt == .epoch {
                summaries.append(UploadSummary(kept, in: staging.area.directory))
            }
        } catch {
            _ = failure("status", .empty, error)
        }
        return summaries.sorted { $0.since < $1.since }
    }

    /// Waits until everything that was accepted is stored; false when some of it cannot be for now.
    package func finishUploads() async -> Bool {
        while true {
            let waiting = stagedFiles.all.filter(\.isAccepted)
            if waiting.isEmpty { return true }
            if waiting.allSatisfy({ $0.summary.stage == .failed }) { return false }
            try? await Task.sleep(for: .milliseconds(100))
            if Task.isCancelled { return false }
        }
    }

    /// An accepted file is stored, or somebody else's is there instead.
    func settled(_ file: StagedFile) async {
        if file.hasConflict {
            // Who has it open is told by his close.
            return stagedFiles.isUsed(file) ? () : await park(file)
        }
        for number in knownFiles(file.key, version: nil) where inodes[number]?.staged === file {
            _ = finish(file, on: number)
            return
        }
        if stagedFiles.retire(file) { file.close() }
    }
}
