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
        guard let key = json[key: "key"], let size = json[bytes: "bytes"], let sent = json[bytes: "sent_bytes"],
            let stage = json[text: "state"].flatMap({ Stage(rawValue: $0) }), let since = json[time: "since"],
            let stagingPath = json[text: "staging"], let isComplete = json["complete"]?.bool
        else { return nil }
        self.init(
            key: key, sizeBytes: size, sentBytes: sent, stage: stage, since: since,
            error: json[text: "error"], stagingPath: stagingPath, isComplete: isComplete,
            ranges: json["ranges"]?.array?.compactMap(Self.range) ?? [])
    }

    private static func range(_ json: JSON) -> Range<UInt64>? {
        let offsets = json.array?.compactMap { $0.int.flatMap { UInt64(exactly: $0) } } ?? []
        guard offsets.count == 2, offsets[0] <= offsets[1] else { return nil }
        return offsets[0]..<offsets[1]
    }
}
