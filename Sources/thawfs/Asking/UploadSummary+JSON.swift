import Restore
import ThawCore
import Upload
import Wire

// As Restore has it for restores: docs/notes/control.md has the names.
extension UploadSummary {
    var json: JSON {
        [
            "key": JSON(key), "bytes": JSON(sizeBytes), "sent_bytes": JSON(sentBytes), "state": .string(stage.rawValue),
            "since": JSON(since), "error": JSON(error), "staging": .string(stagingPath), "complete": .bool(isComplete),
        ]
    }

    /// With what only those need who look into the staging file.
    var jsonWithRanges: JSON {
        guard case .object(var members) = json else { return json }
        members["ranges"] = .array(ranges.map { [JSON($0.lowerBound), JSON($0.upperBound)] })
        return .object(members)
    }

    init?(_ json: JSON) {
        guard let key = json["key"]?.string.flatMap({ PercentEncoding.decode($0) }),
            let size = json["bytes"]?.int.flatMap({ UInt64(exactly: $0) }),
            let sent = json["sent_bytes"]?.int.flatMap({ UInt64(exactly: $0) }),
            let stage = json["state"]?.string.flatMap({ Stage(rawValue: $0) }),
            let since = json["since"]?.string.flatMap({ WireDate.parseISO8601($0) }),
            let stagingPath = json["staging"]?.string, let isComplete = json["complete"]?.bool
        else { return nil }
        self.init(
            key: ObjectKey(key), sizeBytes: size, sentBytes: sent, stage: stage, since: since,
            error: json["error"]?.string, stagingPath: stagingPath, isComplete: isComplete,
            ranges: json["ranges"]?.array?.compactMap(Self.range) ?? [])
    }

    private static func range(_ json: JSON) -> Range<UInt64>? {
        let offsets = json.array?.compactMap { $0.int.flatMap { UInt64(exactly: $0) } } ?? []
        guard offsets.count == 2, offsets[0] <= offsets[1] else { return nil }
        return offsets[0]..<offsets[1]
    }
}
