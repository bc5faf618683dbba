-- Written by hand in the shape of mysqldump --tab.
DROP TABLE IF EXISTS `backup_jobs`;
CREATE TABLE `backup_jobs` (
  `id` varchar(64) NOT NULL,
  `vm_backup_context_id` varchar(64) DEFAULT NULL,
  `vm_context_id` varchar(191) NOT NULL,
  `vm_name` varchar(255) NOT NULL,
  `disk_id` int NOT NULL DEFAULT 0,
  `repository_id` varchar(64) NOT NULL,
  `backup_type` enum('full','incremental','differential') NOT NULL,
  `status` enum('pending','running','completed','failed','cancelled') NOT NULL,
  `repository_path` varchar(512) NOT NULL,
  `bytes_transferred` bigint DEFAULT 0,
  `total_bytes` bigint DEFAULT 0,
  `error_message` text,
  `last_telemetry_at` datetime DEFAULT NULL,
  `created_at` timestamp NULL DEFAULT NULL,
  `started_at` timestamp NULL DEFAULT NULL,
  `completed_at` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
