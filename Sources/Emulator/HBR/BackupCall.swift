import ThawCore
import Wire

/// One call of Cloud Backup, by its parameters, on the state.
struct BackupCall {
    let parameters: [String: String]
    let now: Timestamp

    /// Nil when it is absent or empty, which clients mean alike.
    subscript(name: String) -> String? { parameters[name].flatMap { $0.isEmpty ? nil : $0 } }

    private func required(_ name: String) throws(ProviderError) -> String {
        guard let value = self[name] else {
            throw ProviderError(400, "MissingParameter", "The parameter \(name) is mandatory for this action.")
        }
        return value
    }

    private func oneOf(_ values: Set<String>, _ name: String) throws(ProviderError) -> String {
        let value = try required(name)
        guard values.contains(value) else { throw .badRequest("\(name) cannot be \(value).") }
        return value
    }

    private static let types: Set<String> = ["ECS_FILE", "OSS", "NAS", "OTS_TABLE", "UDM_ECS_ROLLBACK"]

    // MARK: Vaults and snapshots

    func describeVaults(_ state: Backups.State) throws(ProviderError) -> JSON {
        let found = state.vaults.filter { self["VaultId"] ?? $0.id == $0.id && self["VaultName"] ?? $0.name == $0.name }
        return try page(found, of: ("Vaults", "Vault")) { vault in
            [
                "VaultId": .string(vault.id), "VaultName": .string(vault.name), "VaultType": "STANDARD",
                "VaultRegionId": "cn-hangzhou", "Status": "CREATED", "VaultStorageClass": "STANDARD",
                "CreatedTime": JSON(vault.created.seconds),
                "BytesDone": JSON(state.snapshots.filter { $0.vault == vault.id }.reduce(0) { $0 + $1.sizeBytes }),
            ]
        }
    }

    func searchSnapshots(_ state: Backups.State) throws(ProviderError) -> JSON {
        let type = try oneOf(["OSS", "ECS_FILE", "NAS"], "SourceType")
        guard let conditions = JSON(Array((self["Query"] ?? "[]").utf8))?.array,
            let vault = conditions.first(where: { $0["field"]?.string == "VaultId" })?["value"]?.string
        else { throw .badRequest("Query must be an array of conditions, and name a VaultId.") }
        guard state.vaults.contains(where: { $0.id == vault }) else {
            throw .notFound("VaultNotExist", "The vault does not exist.")
        }
        let found = state.snapshots.filter { snapshot in
            snapshot.type == type && conditions.allSatisfy { snapshot.meets($0) }
        }
        let limit = self["Limit"].flatMap { Int($0) } ?? 10, start = self["NextToken"].flatMap { Int($0) } ?? 0
        let shown = found.dropFirst(start).prefix(max(limit, 0))
        return [
            "TotalCount": JSON(found.count), "Limit": JSON(limit),
            "NextToken": .string(shown.endIndex < found.endIndex && limit > 0 ? String(start + shown.count) : ""),
            "Snapshots": ["Snapshot": .array(shown.map(\.json))],
        ]
    }

    // MARK: Restore jobs

    func createJob(_ state: inout Backups.State) throws(ProviderError) -> JSON {
        let type = try oneOf(Self.types, "RestoreType")
        let vault = try required("VaultId"), id = try required("SnapshotId")
        guard try required("SourceType") == type else { throw .badRequest("SourceType must be that of RestoreType.") }
        for name in ["Include", "Exclude"] {
            guard let text = parameters[name] else { continue }
            guard (1...255).contains(text.utf16.count), Backups.Job.patterns(text) != nil else {
                throw .badRequest("\(name) must be an array of paths, of 1 to 255 characters.")
            }
        }
        switch type {
        case "OSS":
            _ = try required("TargetBucket")
            guard parameters["TargetPrefix"] != nil else {
                throw ProviderError(400, "MissingParameter", "The parameter TargetPrefix is mandatory for this action.")
            }
        case "ECS_FILE": _ = (try required("TargetInstanceId"), try required("TargetPath"))
        case "NAS": _ = (try required("TargetFileSystemId"), try required("TargetCreateTime"))
        default: break
        }
        guard state.vaults.contains(where: { $0.id == vault }) else {
            throw .notFound("VaultNotExist", "The vault does not exist.")
        }
        guard let snapshot = state.snapshots.first(where: { $0.id == id && $0.vault == vault && $0.type == type }),
            self["SnapshotHash"] ?? snapshot.hash == snapshot.hash
        else { throw .notFound("ResourceNotFound", "The snapshot does not exist.") }
        let job = Backups.Job(
            id: "r-\(state.jobs.count + 1)", parameters: parameters, snapshot: snapshot, created: now)
        state.jobs.append(job)
        return ["RestoreId": .string(job.id)]
    }

    func describeJobs(_ state: Backups.State) throws(ProviderError) -> JSON {
        let type = try oneOf(Self.types, "RestoreType")
        var found = state.jobs.filter { $0.parameters["RestoreType"] == type }
        var number = 1
        while let key = self["Filters.\(number).Key"] {
            let comparison = self["Filters.\(number).Operator"] ?? "IN"
            var values: [String] = []
            while let value = self["Filters.\(number).Values.\(values.count + 1)"] { values.append(value) }
            found = found.filter { $0.meets(key, comparison, values, at: now) }
            number += 1
        }
        return try page(found.reversed(), of: ("RestoreJobs", "RestoreJob")) { $0.json(at: now) }
    }

    func cancelJob(_ state: inout Backups.State) throws(ProviderError) -> JSON {
        let id = try required("RestoreId")
        guard
            let index = state.jobs.firstIndex(where: {
                $0.id == id && self["VaultId"] ?? $0.snapshot.vault == $0.snapshot.vault
            })
        else { throw .notFound("ResourceNotFound", "The restore job does not exist.") }
        guard !state.jobs[index].isSettled, state.jobs[index].cancelled == nil else {
            throw .badRequest("The restore job has ended.")
        }
        state.jobs[index].cancelled = now
        return [:]
    }

    private func page<Element>(
        _ elements: [Element], of place: (String, String), _ json: (Element) -> JSON
    ) throws(ProviderError) -> JSON {
        let number = self["PageNumber"].flatMap { Int($0) } ?? 1, size = self["PageSize"].flatMap { Int($0) } ?? 10
        guard number > 0, (1...99).contains(size) else { throw .badRequest("PageSize must be from 1 to 99.") }
        return [
            "TotalCount": JSON(elements.count), "PageNumber": JSON(number), "PageSize": JSON(size),
            place.0: .object([place.1: .array(elements.dropFirst((number - 1) * size).prefix(size).map(json))]),
        ]
    }
}

extension Backups.Snapshot {
    var sizeBytes: UInt64 { files.reduce(0) { $0 + $1.sizeBytes } }

    fileprivate func meets(_ condition: JSON) -> Bool {
        let own: String? =
            switch condition["field"]?.string {
            case "VaultId": vault
            case "Bucket", "InstanceId", "FileSystemId": origin
            case "CompleteTime": String(created.seconds)
            // Of a file system or a plan, which are not kept.
            default: nil
            }
        let values = condition["value"]?.array?.compactMap(\.string) ?? [condition["value"]?.string ?? ""]
        return own.map { Backups.compare($0, condition["operation"]?.string ?? "", values) } ?? true
    }

    fileprivate var json: JSON {
        let place = ["OSS": "Bucket", "ECS_FILE": "InstanceId", "NAS": "FileSystemId"][type] ?? "Bucket"
        return [
            "SnapshotId": .string(id), "SnapshotHash": .string(hash), "VaultId": .string(vault),
            "SourceType": .string(type), place: .string(origin), "BackupType": "COMPLETE", "Status": "COMPLETE",
            "StorageClass": "STANDARD", "BytesTotal": JSON(sizeBytes), "BytesDone": JSON(sizeBytes),
            "ItemsTotal": JSON(files.count), "ItemsDone": JSON(files.count), "CreatedTime": JSON(created.seconds),
            "StartTime": JSON(created.seconds), "CompleteTime": JSON(created.seconds), "ExpireTime": 0,
        ]
    }
}

extension Backups.Job {
    fileprivate func meets(_ key: String, _ comparison: String, _ values: [String], at now: Timestamp) -> Bool {
        let own: String? =
            switch key {
            case "JobId": id
            case "VaultId": snapshot.vault
            case "Bucket": parameters["TargetBucket"]
            case "InstanceId": parameters["TargetInstanceId"]
            case "FileSystemId": parameters["TargetFileSystemId"]
            case "Status": status(at: now)
            case "CompleteTime": String(ended(at: now)?.seconds ?? 0)
            default: nil
            }
        return Backups.compare(own ?? "", comparison, values)
    }

    fileprivate func json(at now: Timestamp) -> JSON {
        let status = status(at: now), progress = progress(at: now)
        let bytes = files.reduce(0) { $0 + $1.sizeBytes }
        let isWhole = ["COMPLETE", "CREATED", "QUEUED", "RUNNING", "CANCELING", "CANCELED"].contains(status)
        var members: [String: JSON] = [
            "RestoreId": .string(id), "Status": .string(status), "Progress": JSON(Int(progress * 10_000)),
            "BytesTotal": JSON(bytes), "BytesDone": JSON(UInt64(Double(bytes) * progress)),
            "ItemsTotal": JSON(files.count), "ItemsDone": JSON(Int(Double(files.count) * progress)),
            "CreatedTime": JSON(created.seconds), "StartTime": JSON(created.seconds), "UpdatedTime": JSON(now.seconds),
            "CompleteTime": JSON(ended(at: now)?.seconds ?? 0), "ExpireTime": 0, "ParentId": "",
            "ErrorMessage": .string(isWhole ? "" : failure ?? snapshot.error),
            "ErrorFile": .string(status == "PARTIAL_COMPLETE" ? "\(id)/errors.csv" : ""),
            "SnapshotHash": .string(snapshot.hash),
        ]
        let sent = [
            "RestoreType", "SourceType", "VaultId", "SnapshotId", "TargetBucket", "TargetPrefix", "TargetInstanceId",
            "TargetPath", "TargetFileSystemId", "Include", "Exclude", "Options", "CrossAccountType",
            "CrossAccountRoleName",
        ]
        for name in sent { members[name] = .string(parameters[name] ?? "") }
        return .object(members)
    }
}

extension Backups {
    fileprivate static func compare(_ own: String, _ comparison: String, _ values: [String]) -> Bool {
        func order(_ other: String) -> Int { (Int(own) ?? 0) - (Int(other) ?? 0) }
        let first = values.first ?? ""
        return switch comparison {
        case "IN": values.contains(own)
        case "NOT_IN": !values.contains(own)
        case "NOT_EQUAL": own != first
        case "GREATER_THAN": order(first) > 0
        case "GREATER_THAN_OR_EQUAL": order(first) >= 0
        case "LESS_THAN": order(first) < 0
        case "LESS_THAN_OR_EQUAL": order(first) <= 0
        case "BETWEEN": values.count == 2 && order(values[0]) >= 0 && order(values[1]) <= 0
        default: own == first
        }
    }
}
