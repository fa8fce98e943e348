import Restore
import ThawCore
import Upload

/// What a mount has accepted and is going to store, in numbers and as text.
struct UploadProgress: Equatable {
    var files = 0
    var bytes: UInt64 = 0
    var sentBytes: UInt64 = 0
    /// Of the files, those that went wrong when they were tried last, whether or not they are being tried again.
    var failing = 0
    /// Of one of them.
    var error: String?
    /// Files besides, that were given up and are kept.
    var kept = 0

    init() {}

    init(_ uploads: [UploadSummary]) {
        for upload in uploads {
            guard upload.stage != .kept else {
                kept += 1
                continue
            }
            files += 1
            bytes += upload.sizeBytes
            sentBytes += min(upload.sentBytes, upload.sizeBytes)
            if upload.stage == .failed || upload.error != nil { failing += 1 }
            error = error ?? upload.error
        }
    }

    var json: JSON {
        [
            "files": JSON(files), "bytes": JSON(bytes), "sent_bytes": JSON(sentBytes), "failing": JSON(failing),
            "kept": JSON(kept),
        ]
    }

    /// `3 files not stored yet, 12 MiB of 16 MiB left, 1 failing: 403 AccessDenied`
    var line: String {
        let count = "\(Units.count(files)) file\(files == 1 ? "" : "s") not stored yet"
        let left = sentBytes == 0
            ? Units.text(bytes: bytes) : "\(Units.text(bytes: bytes - sentBytes)) of \(Units.text(bytes: bytes)) left"
        let reason = error.map { ": \($0)" } ?? ""
        return "\(count), \(left)" + (failing > 0 ? ", \(Units.count(failing)) failing\(reason)" : "")
    }

    /// What there is to say, in a line each.
    var lines: [String] {
        let givenUp = "\(Units.count(kept)) file\(kept == 1 ? "" : "s") given up, and kept: see thawfs cache recover"
        return (files > 0 ? [line] : []) + (kept > 0 ? [givenUp] : [])
    }
}

/// Waits until a mount has stored what it has accepted.
struct UploadWatch {
    enum Outcome {
        case stored
        /// All that is left has failed, and stayed so for a while: waiting does not help.
        case failed([UploadSummary])
        case interrupted(UploadProgress)
    }

    let daemon: Daemon
    private static let interval = Duration.milliseconds(500)
    /// Files are tried again meanwhile, if they failed not long ago.
    private static let patience = Duration.seconds(10)

    /// Returns when nothing is left but what has failed, or a signal asks to stop.
    func wait(showingOn display: ProgressDisplay) async throws -> Outcome {
        let progress = UploadProgress(try daemon.uploads())
        if progress.files == 0 { return .stored }
        let stop = StopSignals()
        let watching = Task { try await watch(display) }
        let listening = Task {
            await stop.wait()
            watching.cancel()
        }
        defer { listening.cancel() }
        return try await watching.value
    }

    private func watch(_ display: ProgressDisplay) async throws -> Outcome {
        var (display, shown) = (display, UploadProgress())
        var (lastHope, left) = (ContinuousClock.now, Int.max)
        defer { display.end() }
        while true {
            let uploads = try daemon.uploads()
            let progress = UploadProgress(uploads)
            if progress.files == 0 { return .stored }
            if progress.failing < progress.files || progress.files < left { lastHope = .now }
            left = progress.files
            if ContinuousClock.now - lastHope > Self.patience { return .failed(uploads.filter { $0.stage != .kept }) }
            display.show(isNews: progress != shown, line: progress.line) { String(progress.line.prefix($0)) }
            shown = progress
            do { try await Task.sleep(for: Self.interval) } catch { return .interrupted(progress) }
        }
    }
}

extension Daemon {
    /// What the mount has accepted and not yet stored, the oldest first.
    func uploads() throws -> [UploadSummary] {
        let reply = try ask(["command": "uploads"])
        return try expect(reply["uploads"]?.array, in: reply).map { try expect(UploadSummary($0), in: $0) }
    }
}
