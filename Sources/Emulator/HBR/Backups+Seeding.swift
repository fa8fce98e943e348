import ThawCore
import Wire

extension Backups {
    /// Makes a vault, or adds to it; a snapshot that is there is replaced, and jobs of it take over how they end.
    ///
    ///     {"vault": "v-1", "name": …, "snapshots": [{"id": "s-1", "type": "OSS", "origin": "bucket",
    ///       "files": [{"path": "/a", "content": "text"}, {"path": "/b", "size": 1000}], "duration": "60s",
    ///       "ending": "PARTIAL_COMPLETE", "error": …, "failing": ["/b"]}]}
    func seed(_ json: JSON, at now: Timestamp) throws(ProviderError) {
        guard let vault = json["vault"]?.string else { throw .invalidArgument("backup wants a vault.") }
        var snapshots: [Snapshot] = []
        for element in json["snapshots"]?.array ?? [] {
            snapshots.append(try Self.snapshot(element, of: vault, at: now))
        }
        try withState { state throws(ProviderError) in
            if !state.vaults.contains(where: { $0.id == vault }) {
                state.vaults.append(Vault(id: vault, name: json["name"]?.string ?? vault, created: now))
            }
            for snapshot in snapshots {
                state.snapshots.removeAll { $0.id == snapshot.id && $0.vault == vault }
                state.snapshots.append(snapshot)
                for index in state.jobs.indices
                where state.jobs[index].snapshot.id == snapshot.id && !state.jobs[index].isSettled {
                    state.jobs[index].snapshot = snapshot
                }
            }
        }
    }

    private static func snapshot(
        _ json: JSON, of vault: String, at now: Timestamp
    ) throws(ProviderError) -> Snapshot {
        guard let id = json["id"]?.string else { throw .invalidArgument("A snapshot wants an id.") }
        guard let duration = Duration(span: json["duration"]?.string ?? "60s") else {
            throw .invalidArgument("duration must be a span like 90, 12h or 2d.")
        }
        let ending = json["ending"]?.string ?? "COMPLETE"
        guard ["COMPLETE", "PARTIAL_COMPLETE", "FAILED"].contains(ending) else {
            throw .invalidArgument("A restore cannot end as \(ending).")
        }
        var files: [File] = []
        for element in json["files"]?.array ?? [] {
            guard let path = element["path"]?.string else { throw .invalidArgument("A file wants a path.") }
            if let text = element["content"]?.string {
                files.append(File(path: path, content: .bytes(Array(text.utf8))))
            } else {
                let size = element["size"]?.int ?? 0
                files.append(File(path: path, content: .madeUp(sizeBytes: UInt64(max(size, 0)))))
            }
        }
        return Snapshot(
            id: id, hash: json["hash"]?.string ?? Digest.sha256Hex(Array(id.utf8)), vault: vault,
            type: json["type"]?.string ?? "OSS", origin: json["origin"]?.string ?? "origin", created: now,
            files: files, duration: duration, ending: ending, error: json["error"]?.string ?? "",
            failing: Set((json["failing"]?.array ?? []).compactMap(\.string)))
    }
}
