"""Adapters of the ports: S3, DynamoDB, Kinesis, Step Functions. The only room that imports boto3."""
